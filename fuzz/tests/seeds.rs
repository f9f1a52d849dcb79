//! Every target takes its own seeds, and each of them cut short or with a bit turned.

use std::fs;
use std::path::Path;

#[test]
fn targets_bear_their_seeds_and_damaged_ones() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds");
    for (name, run) in rookeeper_fuzz::TARGETS {
        let mut count = 0;
        for entry in fs::read_dir(root.join(name)).expect("each target has seeds") {
            let bytes = fs::read(entry.expect("seeds can be listed").path()).expect("a seed");
            run(&bytes);
            for cut in (0..bytes.len()).step_by(bytes.len() / 16 + 1) {
                run(&bytes[..cut]);
                let mut turned = bytes.clone();
                turned[cut] ^= 1 << (cut % 8);
                run(&turned);
            }
            count += 1;
        }
        assert!(count > 0, "{name} has no seeds");
    }
}
