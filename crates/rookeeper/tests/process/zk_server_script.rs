//! `bin/zkServer.sh` with a real server: words, outputs and exit codes as of Java's script.

use crate::command_line::Foreground;
use crate::home::{Home, eventually, word};

#[test]
fn a_server_starts_tells_its_mode_restarts_and_stops() {
    let home = Home::new("");
    let started = home.script(&["start"], &[]);
    assert_eq!((started.code, started.stdout.as_str()), (0, "Starting zookeeper ... STARTED\n"));
    assert_eq!(started.stderr, format!("Using config: {}\n", home.config().display()));
    let pid = std::fs::read_to_string(home.pid_file()).unwrap();
    assert!(pid.parse::<u32>().is_ok(), "{pid}");

    let port = home.port;
    eventually("an answer", || word(port, "srvr").is_some());
    let found = format!("Client port found: {port}. Client address: localhost. Client SSL: false.");
    let status = home.script(&["status"], &[]);
    assert_eq!((status.code, status.stdout), (0, format!("{found}\nMode: standalone\n")));

    let again = home.script(&["start"], &[]);
    let words = format!("Starting zookeeper ... already running as process {pid}.\n");
    assert_eq!((again.code, again.stdout), (1, words));

    let restarted = home.script(&["restart"], &[]);
    assert_eq!(
        (restarted.code, restarted.stdout.as_str()),
        (0, "Stopping zookeeper ... STOPPED\nStarting zookeeper ... STARTED\n")
    );
    assert_ne!(std::fs::read_to_string(home.pid_file()).unwrap(), pid);
    eventually("an answer", || word(port, "srvr").is_some());

    let stopped = home.script(&["stop"], &[]);
    assert_eq!((stopped.code, stopped.stdout.as_str()), (0, "Stopping zookeeper ... STOPPED\n"));
    assert!(!home.pid_file().exists());
    assert_eq!(word(port, "srvr"), None);

    let status = home.script(&["status"], &[]);
    let words = "Error contacting service. It is probably not running.";
    assert_eq!((status.code, status.stdout), (1, format!("{found}\n{words}\n")));
    let stopped = home.script(&["stop"], &[]);
    let words = format!(
        "Stopping zookeeper ... no zookeeper to stop (could not find file {})\n",
        home.pid_file().display()
    );
    assert_eq!((stopped.code, stopped.stdout), (0, words));
}

#[test]
fn flags_of_the_environment_and_java_env_reach_the_server() {
    let home = Home::new("preAllocSize=64");
    std::fs::write(
        home.path("conf/java.env"),
        "JVMFLAGS=\"$JVMFLAGS -Xmx512m -Dzookeeper.4lw.commands.whitelist=conf,ruok\"\n",
    )
    .unwrap();
    let flags = [("SERVER_JVMFLAGS", "-Xmx100m -Dzookeeper.extendedTypesEnabled=true")];
    assert_eq!(home.script(&["start", "zoo.cfg"], &flags).code, 0);
    let port = home.port;
    eventually("an answer", || word(port, "ruok").is_some());
    assert_eq!(word(port, "ruok").unwrap(), "imok");
    let conf = word(port, "conf").unwrap();
    assert!(conf.starts_with(&format!("clientPort={port}\nsecureClientPort=-1\n")), "{conf}");
    assert!(conf.contains("\ntickTime=500\nmaxClientCnxns=60\nminSessionTimeout=1000\n"), "{conf}");
    assert!(word(port, "dump").unwrap().ends_with("is not in the whitelist.\n"));
    assert_eq!(home.script(&["stop"], &[]).code, 0);
}

#[test]
fn a_foreground_start_becomes_the_server() {
    let home = Home::new("");
    let server = Foreground::run(&home, home.script_command(&["start-foreground"], &[]));
    eventually("an answer", || word(home.port, "srvr").is_some());
    assert!(!home.pid_file().exists());
    assert_eq!(server.stop("TERM"), 0);
    assert_eq!(word(home.port, "srvr"), None);
}

#[test]
fn the_command_is_printed_and_not_run() {
    let home = Home::new("");
    let environment = [("JVMFLAGS", "-Xmx1g -Da=b"), ("USER", "me"), ("HOSTNAME", "here")];
    let printed = home.script(&["print-cmd", "/some/other.cfg"], &environment);
    assert_eq!(printed.code, 0);
    assert_eq!(printed.stderr, "Using config: /some/other.cfg\n");
    let logs = home.path("logs");
    let logs = logs.display();
    let expected = format!(
        "\"{}\" \"server\" \"-Dzookeeper.log.dir={logs}\" \
         \"-Dzookeeper.log.file=zookeeper-me-server-here.log\" \"-Da=b\" \"/some/other.cfg\" \
         > \"{logs}/zookeeper-me-server-here.out\" 2>&1 < /dev/null\n",
        env!("CARGO_BIN_EXE_rookeeper")
    );
    assert_eq!(printed.stdout, expected);
    assert!(!home.path("data").exists());
}

#[test]
fn a_start_that_fails_says_so() {
    let home = Home::new("tickTime=zero");
    let environment = [("USER", "me"), ("HOSTNAME", "here")];
    let started = home.script(&["start"], &environment);
    assert_eq!(
        (started.code, started.stdout.as_str()),
        (1, "Starting zookeeper ... FAILED TO START\n")
    );
    let output = std::fs::read_to_string(home.path("logs/zookeeper-me-server-here.out")).unwrap();
    let config = home.config();
    let expected = format!("{}:4: tickTime: not a number: \"zero\"\n", config.display());
    assert!(output.contains(&expected), "{output}");
    assert!(output.ends_with("Invalid config, exiting abnormally\n"), "{output}");
}

#[test]
fn a_missing_data_directory_is_an_error_where_it_must_exist() {
    let home = Home::new("");
    let environment = [("ZOO_DATADIR_AUTOCREATE_DISABLE", "1")];
    let started = home.script(&["start"], &environment);
    let words = format!(
        "ZooKeeper data directory is missing at {} fix the path or run initialize\n",
        home.path("data").display()
    );
    assert_eq!((started.code, started.stdout), (1, words));
    std::fs::create_dir_all(home.path("data/version-2")).unwrap();
    let printed = home.script(&["print-cmd"], &environment);
    assert!(printed.stdout.contains("\"-Dzookeeper.datadir.autocreate=false\""), "{printed:?}");
}

#[test]
fn the_pid_file_may_be_elsewhere() {
    let home = Home::new("");
    let pid_file = home.path("run/server.pid");
    let environment = [("ZOOPIDFILE", pid_file.to_str().unwrap())];
    assert_eq!(home.script(&["start"], &environment).code, 0);
    assert!(pid_file.exists() && !home.pid_file().exists());
    assert_eq!(home.script(&["stop"], &environment).stdout, "Stopping zookeeper ... STOPPED\n");
    assert!(!pid_file.exists());
}

#[test]
fn the_version_is_told_and_an_unknown_word_shows_the_usage() {
    let home = Home::new("");
    let version = home.script(&["version"], &[]);
    assert_eq!(version.code, 0);
    let start = "Rookeeper for Apache ZooKeeper, version 3.9.5-rookeeper-";
    assert!(version.stdout.starts_with(start), "{version:?}");
    let unknown = home.script(&["begin"], &[]);
    assert_eq!((unknown.code, unknown.stdout.as_str()), (0, ""));
    let usage = "{start|start-foreground|stop|version|restart|status|print-cmd}\n";
    assert!(unknown.stderr.ends_with(usage), "{unknown:?}");
}
