//! The product tree: what the product IDs of a document stand for.

use std::collections::{BTreeSet, HashMap};

use serde_json::Value;

use crate::Range;
use crate::json::{items_of, text_of, texts_of};
use crate::package::{Component, Distribution, Ecosystem, Package, PackageUrl};
use crate::range::parse_constraints;

/// The deepest product tree that is read; the JSON parser allows little more.
const DEPTH_MAX: usize = 100;

/// Which versions a product ID stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Versions {
    /// The product as such: no version is named, or one that is no version.
    Unnamed,
    One(String),
    /// A range, with the text in which the document writes it.
    Ranges(Vec<Range>, String),
}

/// A product of the tree.
#[derive(Clone, Debug)]
pub(super) struct Product {
    /// The package of its package URL, or the product by each of its names.
    pub(super) packages: Vec<Package>,
    pub(super) versions: Versions,
    /// The distribution that it is or belongs to.
    distribution: Option<Distribution>,
}

/// What the branches above a product say.
#[derive(Clone, Copy, Default)]
struct Branch<'a> {
    vendor: &'a str,
    name: &'a str,
    version: &'a str,
}

/// Collects all products by their ID.
pub(super) fn collect_products(tree: &Value) -> HashMap<String, Product> {
    let mut found = HashMap::new();
    for product in items_of(tree, "full_product_names") {
        insert_product(product, Branch::default(), &mut found);
    }

    let mut open: Vec<(&Value, Branch<'_>, usize)> = items_of(tree, "branches")
        .iter()
        .map(|branch| (branch, Branch::default(), 0))
        .collect();
    while let Some((branch, mut above, depth)) = open.pop() {
        let name = text_of(branch, "name");
        match text_of(branch, "category") {
            "vendor" => above.vendor = name,
            "product_name" => above.name = name,
            "product_version" | "product_version_range" => above.version = name,
            _ => {}
        }

        if let Some(product) = branch.get("product") {
            insert_product(product, above, &mut found);
        }

        if depth < DEPTH_MAX {
            let below = items_of(branch, "branches");
            open.extend(below.iter().map(|branch| (branch, above, depth + 1)));
        }
    }

    // A relationship may refer to the product of another one that is written later.
    let mut open: Vec<&Value> = items_of(tree, "relationships").iter().collect();
    loop {
        let before = open.len();
        open.retain(|relation| {
            let part = text_of(relation, "product_reference");
            let whole = text_of(relation, "relates_to_product_reference");
            !insert_combination(part, &[whole], relation, &mut found)
        });
        if open.is_empty() || open.len() == before {
            break;
        }
    }

    // Version 2.1 has paths of more than two products instead.
    for path in items_of(tree, "product_paths") {
        let part = text_of(path, "beginning_product_reference");
        let wholes: Vec<&str> = items_of(path, "subpaths")
            .iter()
            .map(|step| text_of(step, "next_product_reference"))
            .collect();
        insert_combination(part, &wholes, path, &mut found);
    }

    found
}

/// Inserts a product that is part of others: `openssl as a component of RHEL 9` is known under the
/// name of the part, as a package of the distribution. Returns whether the part is known.
fn insert_combination(
    part: &str,
    wholes: &[&str],
    relation: &Value,
    found: &mut HashMap<String, Product>,
) -> bool {
    let Some(mut product) = found.get(part).cloned() else {
        return false;
    };
    let distribution = wholes
        .iter()
        .find_map(|whole| found.get(*whole)?.distribution.clone());

    if let Some(distribution) = distribution {
        product.place_in(part, &distribution);
    }
    if let Some(combined) = relation.get("full_product_name") {
        found.insert(text_of(combined, "product_id").to_owned(), product);
    }
    true
}

impl Product {
    /// Makes it a package of a distribution.
    fn place_in(&mut self, id: &str, distribution: &Distribution) {
        let is_vendors = self.packages.iter().all(|p| p.ecosystem.is_vendor());
        if is_vendors && let Some(component) = rpm_of_file_name(id, distribution) {
            self.versions = Versions::One(component.version);
            self.packages = vec![component.package];
            return;
        }

        for package in &mut self.packages {
            match &package.distribution {
                Some(own) if own.name == distribution.name => {
                    package.distribution = Some(distribution.clone());
                }
                None if package.ecosystem.has_distributions() => {
                    package.distribution = Some(distribution.clone());
                }
                _ => {}
            }
        }
    }
}

fn insert_product(product: &Value, above: Branch<'_>, found: &mut HashMap<String, Product>) {
    let helper = product
        .get("product_identification_helper")
        .unwrap_or(&Value::Null);
    // Version 2.1 has a list.
    let mut urls = texts_of(helper, "purls");
    urls.insert(0, text_of(helper, "purl").to_owned());
    let url = urls.iter().find_map(|url| PackageUrl::parse(url));

    let read = match url {
        Some(url) => {
            let Component { package, version } = url.component;
            let versions = match version.as_str() {
                "" => parse_version(above.version),
                _ => Versions::One(version),
            };
            Product {
                packages: vec![package],
                versions,
                distribution: None,
            }
        }
        None => Product {
            packages: vendor_packages(product, above),
            versions: parse_version(above.version),
            distribution: Distribution::of_cpe(text_of(helper, "cpe")),
        },
    };
    found.insert(text_of(product, "product_id").to_owned(), read);
}

/// Returns the product under each name by which an inventory may list it: its own, with the
/// vendor's in front, and the whole name.
fn vendor_packages(product: &Value, above: Branch<'_>) -> Vec<Package> {
    let whole = text_of(product, "name");
    let mut names = Vec::new();
    if !above.name.is_empty() {
        names.push(above.name.to_owned());
        if !above.vendor.is_empty() {
            names.push(format!("{} {}", above.vendor, above.name));
        }
    }
    names.push(whole.to_owned());

    let mut seen = BTreeSet::new();
    names
        .iter()
        .map(|name| Package::new("", name))
        .filter(|package| {
            let name = package.index_name();
            !name.is_empty() && seen.insert(name)
        })
        .collect()
}

fn parse_version(text: &str) -> Versions {
    match parse_constraints(text) {
        Some(ranges) => Versions::Ranges(ranges, text.to_owned()),
        // A range that is free text, or none at all.
        None if text.is_empty() || text.starts_with("vers:") => Versions::Unnamed,
        None => Versions::One(text.to_owned()),
    }
}

/// Parses the file name of an RPM, `openssl-libs-1:3.0.7-18.el9_2.x86_64`, for products of a
/// distribution that have no package URL.
fn rpm_of_file_name(id: &str, distribution: &Distribution) -> Option<Component> {
    const ARCHITECTURES: [&str; 9] = [
        ".src", ".noarch", ".x86_64", ".aarch64", ".s390x", ".ppc64le", ".i686", ".ppc64", ".s390",
    ];
    let id = id.strip_suffix(".rpm").unwrap_or(id);
    let stem = ARCHITECTURES
        .iter()
        .find_map(|arch| id.strip_suffix(arch))?;
    let (rest, release) = stem.rsplit_once('-')?;
    let (name, version) = rest.rsplit_once('-')?;

    Some(Component {
        package: Package {
            ecosystem: Ecosystem("rpm".to_owned()),
            distribution: Some(distribution.clone()),
            name: name.to_owned(),
        },
        version: format!("{version}-{release}"),
    })
}
