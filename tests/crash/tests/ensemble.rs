//! Ensembles of three under load whose members' disks lose power or fill up. Long runs:
//! `rookeeper-crash ensemble-power-cut --cycles 200 ...`.

use std::path::{Path, PathBuf};

use rookeeper_crash::ensemble::{Cuts, full_disks, power_cuts};
use rookeeper_crash::ext4::Ext4;
use rookeeper_interop::server::rookeeper_binary;

/// A folder beside the build's output: on the same disk, not in memory.
fn folder(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).expect("the build's folder can be written");
    folder
}

fn can_cut_power(folder: &Path) -> bool {
    let made = Ext4::make(&folder.join("probe"), 64).and_then(|ext4| ext4.cut_power());
    if let Err(why) = &made {
        eprintln!("SKIPPED: power cuts need a loop-mounted ext4 ({why})");
    }
    made.is_ok()
}

#[test]
fn nothing_acknowledged_is_lost_when_members_lose_power() {
    let folder = folder("ensemble-power-cut");
    if !can_cut_power(&folder) {
        return;
    }
    let cuts = Cuts {
        binary: rookeeper_binary().to_owned(),
        members: 3,
        cycles: 6,
        judged_every: 3,
        seed: 5,
        folder: folder.clone(),
    };
    let outcome = power_cuts(&cuts).unwrap_or_else(|why| panic!("{why}"));
    println!("{outcome:?}");
    assert!(outcome.writes > 300 && outcome.resumed > 0, "hardly any load: {outcome:?}");
    let _ = std::fs::remove_dir_all(&folder);
}

#[test]
fn an_ensemble_goes_on_without_a_member_whose_disk_is_full() {
    let folder = folder("ensemble-full-disk");
    match full_disks(rookeeper_binary(), &folder) {
        Ok(summary) => println!("{summary:?}"),
        Err(why) => eprintln!("SKIPPED: a full disk needs a small file system ({why})"),
    }
    let _ = std::fs::remove_dir_all(&folder);
}
