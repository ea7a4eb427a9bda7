use super::*;

fn describe_all(text: &str) -> Vec<String> {
    let read = read(text, None).unwrap();
    read.iter().map(Component::describe).collect()
}

#[test]
fn each_format_is_recognized_and_read() {
    let cargo = "version = 4\n[[package]]\nname = \"serde\"\nversion = \"1.0.2\"\nsource = \
        \"registry+x\"\n\n[[package]]\nname = \"ours\"\nversion = \"0.1.0\"\n";
    assert_eq!(describe_all(cargo), ["cargo serde 1.0.2"]);
    let composer = r#"{
        "content-hash":"x",
        "packages":[{"name":"symfony/yaml","version":"v6.4.0"}],
        "packages-dev":[{"name":"phpunit/phpunit","version":"10.0.0"}]
    }"#;
    assert_eq!(
        describe_all(composer),
        [
            "composer phpunit/phpunit 10.0.0",
            "composer symfony/yaml v6.4.0"
        ]
    );

    let dpkg = "Package: sudo\nStatus: install ok installed\nSource: sudo (1.9)\nVersion: \
        1.9.13p3-1\nDescription: x\n y\n\nPackage: gone\nStatus: deinstall ok \
        config-files\nVersion: 1\n\nPackage: libssl3\nStatus: install ok installed\nSource: \
        openssl\nVersion: 3.0.11-1\n";
    assert_eq!(
        describe_all(dpkg),
        [
            "deb libssl3 3.0.11-1",
            "deb openssl 3.0.11-1",
            "deb sudo 1.9"
        ]
    );

    let cyclone = r#"{
        "bomFormat":"CycloneDX",
        "components":[
            {
                "type":"library",
                "name":"core",
                "group":"@angular",
                "purl":"pkg:npm/%40angular/core@17.0.1",
                "components":[{"name":"inner","version":"2"}]
            },
            {"name":"widget","version":"1.2"}
        ]
    }"#;
    assert_eq!(
        describe_all(cyclone),
        ["- inner 2", "- widget 1.2", "npm @angular/core 17.0.1"]
    );

    let spdx = r#"{
        "spdxVersion":"SPDX-2.3",
        "packages":[
            {
                "name":"x",
                "versionInfo":"1",
                "externalRefs":[
                    {"referenceType":"purl","referenceLocator":"pkg:pypi/x@1.0"}
                ]
            },
            {"name":"y","versionInfo":"NOASSERTION"}
        ]
    }"#;
    assert_eq!(describe_all(spdx), ["- y ", "pypi x 1.0"]);
}

#[test]
fn unknown_formats_are_rejected_with_the_known_ones() {
    assert!(
        read("hello", None)
            .unwrap_err()
            .to_string()
            .contains("cyclonedx")
    );

    assert!(
        read("{\"packages\":3", Some("composer"))
            .unwrap_err()
            .to_string()
            .contains("JSON")
    );

    assert!(
        read("{}", Some("cyclonedx"))
            .unwrap_err()
            .to_string()
            .contains("bomFormat")
    );
}

#[test]
fn what_stands_beside_a_package_url_is_read() {
    let cyclone = r#"{
        "bomFormat": "CycloneDX",
        "metadata": { "component": { "name": "gateway", "purl": "pkg:generic/gateway", "version": "7" } },
        "components": [
            { "name": "lodash", "version": "4.17.21", "purl": "pkg:npm/lodash" },
            { "name": "debian", "version": "12.4", "type": "operating-system" },
            { "name": "libssl3", "purl": "pkg:deb/debian/libssl3@3.0.11-1", "properties": [
                { "name": "aquasecurity:trivy:SrcName", "value": "openssl" },
                { "name": "aquasecurity:trivy:SrcVersion", "value": "3.0.11" },
                { "name": "aquasecurity:trivy:SrcRelease", "value": "1" }
            ] }
        ]
    }"#;
    assert_eq!(
        describe_all(cyclone),
        [
            "- debian 12.4",
            "debian:12 libssl3 3.0.11-1",
            "debian:12 openssl 3.0.11-1",
            "generic gateway 7",
            "npm lodash 4.17.21",
        ]
    );

    let spdx = r#"{
        "spdxVersion": "SPDX-2.3",
        "packages": [{
            "name": "x",
            "versionInfo": "1.0",
            "externalRefs": [{
                "referenceType": "http://spdx.org/rdf/references/purl",
                "referenceLocator": "pkg:pypi/x"
            }]
        }]
    }"#;
    assert_eq!(describe_all(spdx), ["pypi x 1.0"]);
}

#[test]
fn a_byte_order_mark_and_escaped_characters_do_no_harm() {
    let cyclone = "\u{feff}{\"bomFormat\":\"CycloneDX\",\"components\":[{\"name\":\"a\\u0000b\",\
        \"version\":\"1\"},{\"name\":\"c\\\\u0000d\",\"version\":\"2\"}]}";
    assert_eq!(describe_all(cyclone), ["- a\u{fffd}b 1", "- c\\u0000d 2"]);
}

fn dpkg_entry(name: &str, state: &str, version: &str, more: &str) -> String {
    format!("Package: {name}\nStatus: install ok {state}\nVersion: {version}\n{more}\n")
}

#[test]
fn packages_in_the_middle_of_an_upgrade_are_in_use() {
    let states = [
        ("not-installed", false),
        ("config-files", false),
        ("half-installed", true),
        ("unpacked", true),
        ("half-configured", true),
        ("triggers-awaited", true),
        ("triggers-pending", true),
        ("installed", true),
    ];
    for (state, is_in_use) in states {
        let status = dpkg_entry("x", "installed", "1", "") + &dpkg_entry("y", state, "2", "");
        let read = describe_all(&status);
        assert_eq!(read.contains(&"deb y 2".to_owned()), is_in_use, "{state}");
    }
}

#[test]
fn the_release_of_a_dpkg_status_is_that_of_its_base_files() {
    let debian = dpkg_entry("base-files", "installed", "12.4+deb12u5", "")
        + &dpkg_entry(
            "linux-image-6.1.0-18-amd64",
            "installed",
            "6.1.76-1",
            "Source: linux-signed-amd64 (6.1.76+1)\n",
        );
    assert_eq!(
        describe_all(&debian),
        [
            "debian:12 base-files 12.4+deb12u5",
            "debian:12 linux 6.1.76-1",
            "debian:12 linux-image-6.1.0-18-amd64 6.1.76-1",
        ]
    );

    let ubuntu = dpkg_entry("base-files", "installed", "12ubuntu4.6", "");
    assert_eq!(
        describe_all(&ubuntu),
        ["ubuntu:22.04 base-files 12ubuntu4.6"]
    );

    let maintained = "Maintainer: Ubuntu Developers <ubuntu-devel-discuss@lists.ubuntu.com>\n";
    let ubuntu = dpkg_entry("sudo", "installed", "1.9.9-1", maintained);
    assert_eq!(describe_all(&ubuntu), ["ubuntu sudo 1.9.9-1"]);
}
