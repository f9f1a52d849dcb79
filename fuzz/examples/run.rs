//! Runs one input through a target, without the fuzzer: `cargo run --example run -- TARGET FILE`.

fn main() {
    let [name, path] = std::env::args().skip(1).collect::<Vec<_>>().try_into().expect("two words");
    let (_, run) = rookeeper_fuzz::TARGETS
        .iter()
        .find(|(target, _)| *target == name)
        .expect("scripts/fuzz.sh list names the targets");
    run(&std::fs::read(path).expect("the input can be read"));
    println!("{name}: nothing found");
}
