//! What the pages say can be written in `poet.toml` can be.

use poet::config::Config;

#[test]
fn every_configuration_on_the_pages_is_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("poet.toml");
    let pages = [
        include_str!("../README.md"),
        include_str!("../docs/learning.md"),
        include_str!("../docs/http.md"),
        include_str!("../docs/audit.md"),
    ];
    let mut read = 0;
    for example in pages.iter().flat_map(|page| page.split("```toml\n").skip(1)) {
        let (example, _) = example.split_once("```").unwrap();
        // Nothing is set in the environment of a test.
        std::fs::write(&path, example.replace("${CRM_TOKEN}", "x")).unwrap();
        assert_eq!(Config::load(&path).err().map(|error| error.to_string()), None, "{example}");
        read += 1;
    }
    assert_eq!(read, 7, "an example that is not found proves nothing");
}
