//! Which files of the source import which, and whether they do so in circles.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use syn::visit::{self, Visit};
use syn::{Attribute, Item, ItemMod, ItemUse, UseTree, Visibility};

use super::{SOURCE, files};

/// A file of the source by its module path, `["store", "load"]` for `store/load.rs`.
type Module = Vec<String>;

/// Circles that are meant, with their reasons: a file, and the one that it may not import otherwise.
const MEANT: [(&str, &str, &str); 0] = [];

fn module(path: &Path) -> Module {
    let path = path.strip_prefix(SOURCE).expect("a file of the source").with_extension("");
    let mut module: Module =
        path.iter().map(|part| part.to_str().expect("a text").to_owned()).collect();
    if module.last().is_some_and(|last| last == "mod") {
        module.pop();
    }
    module
}

/// The paths that a file names.
#[derive(Default)]
struct Paths(Vec<Vec<String>>);

impl Paths {
    fn add(&mut self, before: &[String], tree: &UseTree) {
        let with = |name: String| [before, &[name]].concat();
        match tree {
            UseTree::Path(path) => self.add(&with(path.ident.to_string()), &path.tree),
            UseTree::Name(name) => self.0.push(with(name.ident.to_string())),
            UseTree::Rename(name) => self.0.push(with(name.ident.to_string())),
            UseTree::Glob(_) => self.0.push(before.to_vec()),
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.add(before, tree)),
        }
    }
}

fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute.parse_args::<syn::Path>().is_ok_and(|path| path.is_ident("test"))
    })
}

impl<'ast> Visit<'ast> for Paths {
    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        self.add(&[], &item.tree);
    }

    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        if !is_test(&item.attrs) {
            visit::visit_item_mod(self, item);
        }
    }

    fn visit_visibility(&mut self, _: &'ast Visibility) {
        // `pub(in crate::cli)` imports nothing.
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        self.0.push(path.segments.iter().map(|segment| segment.ident.to_string()).collect());
        visit::visit_path(self, path);
    }
}

/// The files that a file imports.
fn imports(from: &Module, path: &Path, modules: &BTreeSet<Module>) -> BTreeSet<Module> {
    let text = fs::read_to_string(path).expect("a text");
    let file = syn::parse_file(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let mut paths = Paths::default();
    let tests = |item: &&Item| !matches!(item, Item::Mod(item) if is_test(&item.attrs));
    file.items.iter().filter(tests).for_each(|item| paths.visit_item(item));
    let named = paths.0.into_iter().filter_map(|path| resolve(from, path, modules));
    named.filter(|module| module != from).collect()
}

/// The file in which a path leads to something.
fn resolve(from: &Module, path: Vec<String>, modules: &BTreeSet<Module>) -> Option<Module> {
    let mut base = from.clone();
    let mut rest = &path[..];
    match rest.first().map(String::as_str) {
        Some("crate") => {
            base.clear();
            rest = &rest[1..];
        }
        Some("super") => {
            while rest.first().is_some_and(|first| first == "super") {
                base.pop();
                rest = &rest[1..];
            }
        }
        Some("self") => rest = &rest[1..],
        Some(_) if rest.len() > 1 => {}
        _ => return None,
    }
    let full = [base, rest.to_vec()].concat();
    (1..=full.len()).rev().map(|len| full[..len].to_vec()).find(|path| modules.contains(path))
}

/// Whether one file leads to another, import by import.
fn leads_to(from: &Module, to: &Module, imports: &BTreeMap<Module, BTreeSet<Module>>) -> bool {
    let (mut seen, mut next) = (BTreeSet::new(), vec![from]);
    while let Some(module) = next.pop() {
        if module == to {
            return true;
        }
        if seen.insert(module) {
            next.extend(imports[module].iter());
        }
    }
    false
}

#[test]
fn files_do_not_import_each_other_in_circles() {
    let paths = files(Path::new(SOURCE)).into_iter();
    let files: BTreeMap<Module, _> = paths.map(|path| (module(&path), path)).collect();
    let modules: BTreeSet<Module> = files.keys().cloned().collect();
    let imports: BTreeMap<Module, BTreeSet<Module>> = files
        .iter()
        .map(|(module, path)| (module.clone(), imports(module, path, &modules)))
        .collect();
    let mut circles = Vec::new();
    for (module, imported) in &imports {
        let (module_name, back) = (module.join("/"), imported.iter());
        let back = back.filter(|imported| leads_to(imported, module, &imports));
        circles.extend(back.map(|imported| format!("{module_name} <-> {}", imported.join("/"))));
    }
    circles.retain(|circle| {
        !MEANT.iter().any(|(file, other, _)| *circle == format!("{file} <-> {other}"))
    });
    assert!(modules.len() > 50, "the source was not found");
    assert!(circles.is_empty(), "{circles:#?}");
}
