// SPDX-License-Identifier: GPL-2.0

//! The recipes of `Documentation/clusters/`. The cases run the commands that the reader sees.
//!
//! A heading that names a case (`` `cluster_...` ``) begins a recipe; text before the first such heading is common to all
//! recipes of the file. Headings below it divide a recipe into parts. A block of shell commands is for the machines that
//! the paragraph before it names: "On **rs1** and **rs2**:".

use anyhow::{bail, ensure, Context, Result};
use pulldown_cmark::{CodeBlockKind, Event, HeadingLevel, Parser, Tag, TagEnd};

/// The pages with recipes: name and text.
const FILES: &[(&str, &str)] = &[
    (
        "dr.md",
        include_str!("../../../Documentation/clusters/dr.md"),
    ),
    (
        "tun.md",
        include_str!("../../../Documentation/clusters/tun.md"),
    ),
    (
        "directors.md",
        include_str!("../../../Documentation/clusters/directors.md"),
    ),
    (
        "redirect.md",
        include_str!("../../../Documentation/clusters/redirect.md"),
    ),
    (
        "moving.md",
        include_str!("../../../Documentation/clusters/moving.md"),
    ),
    (
        "boot.md",
        include_str!("../../../Documentation/clusters/boot.md"),
    ),
    (
        "router.md",
        include_str!("../../../Documentation/clusters/router.md"),
    ),
    (
        "fault.md",
        include_str!("../../../Documentation/clusters/fault.md"),
    ),
    (
        "monitoring.md",
        include_str!("../../../Documentation/clusters/monitoring.md"),
    ),
    (
        "health.md",
        include_str!("../../../Documentation/clusters/health.md"),
    ),
    (
        "anycast.md",
        include_str!("../../../Documentation/clusters/anycast.md"),
    ),
    (
        "containers.md",
        include_str!("../../../Documentation/clusters/containers.md"),
    ),
    (
        "kube-proxy.md",
        include_str!("../../../Documentation/clusters/kube-proxy.md"),
    ),
    (
        "ipv6.md",
        include_str!("../../../Documentation/clusters/ipv6.md"),
    ),
];

/// The page with the commands that all recipes begin with.
const MACHINES: &str = include_str!("../../../Documentation/clusters/README.md");

/// Commands, and the machines that run them.
#[derive(Clone, Debug)]
pub(crate) struct Block {
    /// The names of the machines.
    pub(crate) machines: Vec<String>,
    /// A shell script, with a newline at its end.
    pub(crate) commands: String,
}

/// A part of a recipe, under its heading.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    /// The heading's text.
    pub(crate) title: String,
    /// The commands, in order.
    pub(crate) blocks: Vec<Block>,
}

/// A recipe that a case follows.
#[derive(Clone, Debug)]
pub(crate) struct Recipe {
    /// The case's name.
    pub(crate) case: String,
    /// Its page in `Documentation/clusters/`.
    pub(crate) file: &'static str,
    /// The page's title.
    pub(crate) title: String,
    /// The picture of the cluster: the page's first block of text.
    pub(crate) picture: String,
    /// The commands that all recipes begin with.
    pub(crate) machines: Vec<Block>,
    /// The text below the case's own heading, which begins with what is common to the page; then the text below each
    /// further heading.
    pub(crate) parts: Vec<Part>,
}

/// A case with this suffix uses `arp_invisible` where the recipe uses `hidden`.
const INVISIBLE: &str = "_invisible";

impl Recipe {
    /// Returns all recipes, in the order of the documentation.
    pub(crate) fn all() -> Result<Vec<Self>> {
        let machines = read("README.md", MACHINES)?;
        ensure!(machines.sections.is_empty(), "README.md has cases");
        let mut recipes = Vec::new();
        for (file, text) in FILES {
            let read = read(file, text)?;
            for (cases, mut parts) in read.sections {
                parts[0].blocks.splice(0..0, read.common.iter().cloned());
                for case in cases {
                    let mut recipe = Self {
                        file,
                        title: read.title.clone(),
                        picture: read.picture.clone(),
                        machines: machines.common.clone(),
                        parts: parts.clone(),
                        case,
                    };
                    if recipe.case.ends_with(INVISIBLE) {
                        recipe.make_invisible()?;
                    }
                    recipes.push(recipe);
                }
            }
        }
        Ok(recipes)
    }

    /// Whether the recipe has commands for a machine.
    pub(crate) fn has(&self, machine: &str) -> bool {
        let mut blocks = self.parts.iter().flat_map(|part| &part.blocks);
        blocks.any(|block| block.machines.iter().any(|name| name == machine))
    }

    fn make_invisible(&mut self) -> Result<()> {
        let mut changed = false;
        for block in self.parts.iter_mut().flat_map(|part| &mut part.blocks) {
            let commands = block.commands.replace(".hidden=", ".arp_invisible=");
            changed |= commands != block.commands;
            block.commands = commands;
        }
        ensure!(changed, "{} hides nothing", self.case);
        Ok(())
    }
}

/// The names of a section's cases, and its parts.
type Section = (Vec<String>, Vec<Part>);

/// The contents of a page.
#[derive(Default)]
struct File {
    title: String,
    picture: String,
    /// The commands before the first section.
    common: Vec<Block>,
    sections: Vec<Section>,
}

fn read(file: &str, text: &str) -> Result<File> {
    let mut read = File::default();
    // The words of the current or last paragraph or heading, those in bold, and those in code.
    let mut words = String::new();
    let (mut bold, mut code) = (Vec::new(), Vec::new());
    let mut strong = false;
    // The current fenced block, if its kind is one of those that are read.
    let mut block: Option<(bool, String)> = None;
    for event in Parser::new(text) {
        match event {
            Event::Start(Tag::Paragraph | Tag::Heading { .. }) => {
                words.clear();
                bold.clear();
                code.clear();
            }
            Event::Start(Tag::Strong) => strong = true,
            Event::End(TagEnd::Strong) => strong = false,
            Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(kind))) => match &*kind {
                "sh" => block = Some((true, String::new())),
                "text" => block = Some((false, String::new())),
                _ => {}
            },
            Event::Text(text) => match &mut block {
                Some((_, block)) => block.push_str(&text),
                None if strong => bold.push(text.to_string()),
                None => words.push_str(&text),
            },
            Event::Code(text) => code.push(text.to_string()),
            Event::End(TagEnd::CodeBlock) => {
                let commands = match block.take() {
                    Some((true, commands)) => commands,
                    Some((false, picture)) if read.picture.is_empty() => {
                        read.picture = picture;
                        continue;
                    }
                    _ => continue,
                };
                ensure!(
                    words.starts_with("On ") && !bold.is_empty(),
                    "{file}: no machine is named for these commands:\n{commands}"
                );
                let block = Block {
                    machines: bold.clone(),
                    commands,
                };
                match read.sections.last_mut() {
                    Some((_, parts)) => parts.last_mut().context("no part")?.blocks.push(block),
                    None => read.common.push(block),
                }
            }
            Event::End(TagEnd::Heading(HeadingLevel::H1)) => read.title = words.clone(),
            Event::End(TagEnd::Heading(HeadingLevel::H2)) => {
                code.retain(|word| word.starts_with("cluster_"));
                if !code.is_empty() {
                    // Drop the cases' names.
                    let title = words.split(" (").next().unwrap_or_default();
                    let first = Part {
                        title: title.to_owned(),
                        blocks: Vec::new(),
                    };
                    read.sections.push((code.clone(), vec![first]));
                }
            }
            Event::End(TagEnd::Heading(HeadingLevel::H3)) => {
                let Some((_, parts)) = read.sections.last_mut() else {
                    bail!("{file}: '{words}' is below no case");
                };
                parts.push(Part {
                    title: words.clone(),
                    blocks: Vec::new(),
                });
            }
            _ => {}
        }
    }
    Ok(read)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_what_the_reader_sees() {
        let text = "\
# Title\n\nOn **director**:\n\n```sh\ncommon\n```\n\n## First (`cluster_a`, `cluster_a_invisible`)\n
On **rs1** and **rs2**, as root:\n\n```sh\nsysctl all.hidden=1\n```\n\n```text\nnot run\n```\n
### Later\n\nOn **client**:\n\n```sh\none\ntwo\n```\n";
        let File {
            title,
            common,
            sections,
            ..
        } = read("file", text).unwrap();
        assert_eq!(title, "Title");
        assert_eq!(common[0].commands, "common\n");
        let [(cases, parts)] = &sections[..] else {
            panic!("{sections:?}");
        };
        assert_eq!(cases, &["cluster_a", "cluster_a_invisible"]);
        assert_eq!(parts[0].title, "First");
        assert_eq!(parts[0].blocks.len(), 1);
        assert_eq!(parts[0].blocks[0].machines, ["rs1", "rs2"]);
        assert_eq!(parts[1].title, "Later");
        assert_eq!(parts[1].blocks[0].commands, "one\ntwo\n");
    }

    #[test]
    fn commands_without_a_machine_are_an_error() {
        assert!(read("file", "Type:\n\n```sh\nreboot\n```\n").is_err());
    }

    #[test]
    fn every_recipe_can_be_read_and_no_two_cases_have_one_name() {
        let mut names: Vec<String> = Recipe::all().unwrap().into_iter().map(|r| r.case).collect();
        let all = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), all);
    }
}
