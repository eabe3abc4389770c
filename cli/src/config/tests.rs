//! Precedence and mistakes.

use std::io::Write as _;

use picloud_host::mqtt::Broker;

use super::*;

fn resolve(args: ServeArgs, env: &[(&str, &str)], file: Option<&str>) -> Result<ServeConfig, String> {
    let mut config = tempfile::NamedTempFile::new().unwrap();
    let mut args = args;
    if let Some(text) = file {
        config.write_all(text.as_bytes()).unwrap();
        args.config = Some(config.path().to_owned());
    }
    ServeConfig::resolve(&args, &Env::of(env.iter().copied())).map_err(|error| {
        assert_eq!(error.exit(), crate::exit::Exit::Usage, "{error}");
        error.to_string()
    })
}

fn flags(line: &str) -> ServeArgs {
    use clap::Parser as _;
    let words = ["picloud", "serve"].into_iter().chain(line.split_whitespace());
    match crate::args::Args::try_parse_from(words).unwrap().command {
        crate::args::Command::Serve(args) => *args,
        other => panic!("{other:?}"),
    }
}

fn grant((name, path, writable): (&str, &str, bool)) -> (String, GrantConfig) {
    (name.to_owned(), GrantConfig { path: path.into(), writable, apps: None })
}

#[test]
fn nothing_given_is_the_defaults() {
    assert_eq!(resolve(flags(""), &[], None).unwrap(), ServeConfig::default());
    assert_eq!(resolve(flags(""), &[], Some("")).unwrap(), ServeConfig::default());
    ServeConfig::default().check().unwrap();
}

#[test]
fn each_layer_wins_over_the_one_below() {
    let file = "drain_seconds = 1\nmax_waiting_calls = 1\nimage_cache_bytes = 2000000\n\
                [limits]\nfuel = 1\ndeadline_ms = 1\nmemory_bytes = 5_000_000\n[telemetry]\nmax_age_days = 1";
    let env = [
        ("PICLOUD_DRAIN_SECONDS", "2"),
        ("PICLOUD_MAX_WAITING_CALLS", "2"),
        ("PICLOUD_LIMITS_FUEL", "2"),
        ("PICLOUD_LIMITS_DEADLINE_MS", "2"),
        ("PICLOUD_TELEMETRY_MAX_BYTES", "2_000_000"),
    ];
    let config = resolve(flags("--drain-seconds 3 --limit fuel=3"), &env, Some(file)).unwrap();
    assert_eq!(config.drain_seconds, 3);
    assert_eq!(config.max_waiting_calls, 2);
    assert_eq!(config.image_cache_bytes, 2_000_000);
    assert_eq!(
        (config.limits.fuel, config.limits.deadline_ms, config.limits.memory_bytes),
        (3, 2, 5_000_000)
    );
    assert_eq!((config.telemetry.max_age_days, config.telemetry.max_bytes), (1, 2_000_000));
    assert_eq!(config.telemetry.max_rows_per_second, TelemetryConfig::default().max_rows_per_second);
}

#[test]
fn every_flag_reaches_the_configuration() {
    let config = resolve(
        flags(
            "--address localhost:0 --admin-address [::1]:9000 --public-url https://Pi.example/ --data-dir /srv/pi --secret-key-file /etc/key --dev --trusted-proxies ::1 --limit deadline-ms=5 --fs a=/a:rw --fs b=b \
             --max-concurrent-calls 7 \
             --max-waiting-calls 0 --max-concurrent-events 3 --image-cache-bytes 1048576 --memory-reserve-bytes 5 --quota kv-bytes=6 --body-memory-bytes 1048578 \
             --telemetry-max-age-days 8 --telemetry-max-bytes 1048577 \
             --telemetry-max-rows-per-second 9 --drain-seconds 0 --mqtt mqtts://me:secret@broker --log-format json --log-level picloud_host=debug,warn",
        ),
        &[],
        None,
    )
    .unwrap();
    let expect = ServeConfig {
        address: SocketAddr::from(([127, 0, 0, 1], 0)),
        admin_address: Some("[::1]:9000".parse().unwrap()),
        public_url: Server::parse("https://pi.example").ok(),
        data_dir: "/srv/pi".into(),
        secret_key_file: Some("/etc/key".into()),
        dev: true,
        trusted_proxies: vec!["::1/128".parse().unwrap()],
        limits: Limits { deadline_ms: 5, ..Limits::default() },
        quotas: Quotas { kv_bytes: Some(6), ..Quotas::default() },
        fs: [("a", "/a", true), ("b", "b", false)].map(grant).into(),
        mqtt: Broker::parse("mqtts://me:secret@broker").ok(),
        max_concurrent_calls: NonZeroUsize::new(7),
        max_waiting_calls: 0,
        max_concurrent_events: 3,
        memory_reserve_bytes: Some(5),
        system_root: PathBuf::from("/"),
        image_cache_bytes: 1_048_576,
        body_memory_bytes: Some(1_048_578),
        telemetry: TelemetryConfig { max_age_days: 8, max_bytes: 1_048_577, max_rows_per_second: 9 },
        drain_seconds: 0,
        log: LogConfig { format: LogFormat::Json, level: "picloud_host=debug,warn".to_owned() },
    };
    assert_eq!(config, expect);
}

#[test]
fn every_variable_reaches_the_configuration() {
    let env = [
        ("PICLOUD_ADDRESS", "[::1]:81"),
        ("PICLOUD_ADMIN_ADDRESS", "localhost:82"),
        ("PICLOUD_DATA_DIR", "/srv/pi"),
        ("PICLOUD_SECRET_KEY_FILE", "/etc/key"),
        ("PICLOUD_DEV", "true"),
        ("PICLOUD_FS", "a=/a:rw,b=b"),
        ("PICLOUD_MAX_CONCURRENT_CALLS", "7"),
        ("PICLOUD_IMAGE_CACHE_BYTES", "1048576"),
        ("PICLOUD_QUOTAS_CALLS_PER_SECOND", "20"),
        ("PICLOUD_MEMORY_RESERVE_BYTES", "0"),
        ("PICLOUD_TELEMETRY_MAX_AGE_DAYS", "8"),
        ("PICLOUD_TELEMETRY_MAX_ROWS_PER_SECOND", "9"),
        ("PICLOUD_LOG_FORMAT", "pretty"),
        ("PICLOUD_LOG_LEVEL", "debug"),
    ];
    let config = resolve(flags(""), &env, None).unwrap();
    assert_eq!(config.address, "[::1]:81".parse().unwrap());
    assert_eq!(config.admin_address, Some(SocketAddr::from(([127, 0, 0, 1], 82))));
    assert_eq!(config.data_dir, PathBuf::from("/srv/pi"));
    assert_eq!(config.secret_key_file, Some(PathBuf::from("/etc/key")));
    assert!(config.dev);
    assert_eq!(config.fs, [("a", "/a", true), ("b", "b", false)].map(grant).into());
    assert_eq!(config.max_concurrent_calls, NonZeroUsize::new(7));
    assert_eq!(config.image_cache_bytes, 1_048_576);
    assert_eq!(config.quotas, Quotas { calls_per_second: Some(20), ..Quotas::default() });
    assert_eq!(config.memory_reserve_bytes, Some(0));
    assert_eq!((config.telemetry.max_age_days, config.telemetry.max_rows_per_second), (8, 9));
    assert_eq!(config.log, LogConfig { format: LogFormat::Pretty, level: "debug".to_owned() });
}

/// A flag says where a grant leads and whether it is writable; who may use it stays as the file says.
#[test]
fn grants_of_all_layers_come_together() {
    let file = "[fs.a]\npath = \"/a\"\nwritable = true\napps = [\"shop\"]\n[fs.b]\npath = \"/b\"";
    let env = [("PICLOUD_FS", "b=/env:rw,c=/c")];
    let config = resolve(flags("--fs a=/flag"), &env, Some(file)).unwrap();
    let mut expected: BTreeMap<_, _> =
        [("a", "/flag", false), ("b", "/env", true), ("c", "/c", false)].map(grant).into();
    expected.get_mut("a").unwrap().apps = Some(vec!["shop".to_owned()]);
    assert_eq!(config.fs, expected);
}

#[test]
fn an_unknown_key_is_named() {
    let error = resolve(flags(""), &[], Some("adress = \"127.0.0.1:1\"")).unwrap_err();
    assert!(error.contains("unknown field `adress`") && error.contains("line 1"), "{error}");
    let error = resolve(flags(""), &[], Some("[limits]\nfule = 1")).unwrap_err();
    assert!(error.contains("unknown field `fule`") && error.contains("line 2"), "{error}");
    let error = resolve(flags("--limit fule=1"), &[], None).unwrap_err();
    assert!(error.contains("no limit `fule`") && error.contains("deadline_ms"), "{error}");
}

#[test]
fn dev_only_listens_on_this_machine() {
    for address in ["0.0.0.0:80", "192.168.1.4:8080", "[::]:80"] {
        let error = resolve(flags(&format!("--dev --address {address}")), &[], None).unwrap_err();
        assert!(error.contains("--dev") && error.contains(address), "{error}");
        assert!(resolve(flags(&format!("--address {address}")), &[], None).is_ok());
    }
    assert!(resolve(flags("--address 0.0.0.0:80"), &[("PICLOUD_DEV", "1")], None).is_err());
    assert!(resolve(flags("--dev --address [::1]:80"), &[], None).is_ok());
}

#[test]
fn a_wrong_flag_is_named() {
    let fails = |line: &str, start: &str, why: &str| {
        let error = resolve(flags(line), &[], None).unwrap_err();
        assert!(error.starts_with(start) && error.contains(why), "{line}: {error}");
    };
    fails("--limit fuel=0", "--limit fuel: limit fuel is 0 units", "must be 1 to");
    fails("--limit fuel=lots", "--limit fuel is `lots`", "whole number");
    fails("--limit fuel", "--limit `fuel`", "NAME=VALUE");
    fails("--quota kv-bytes=0", "--quota kv_bytes: quota kv_bytes is 0 bytes", "must be 1 to");
    fails("--quota kv=1", "there is no quota `kv`", "fuel_per_second");
    fails("--quota kv-bytes", "--quota `kv-bytes`", "calls-per-second=20");
    fails("--fs data", "--fs: `data` is not NAME=PATH", "data=/srv/data:rw");
    fails("--fs Data=/srv", "--fs: fs: `Data`: a name starts with", "lower-case");
    fails("--fs data=", "--fs: fs.data.path is empty", "");
    fails("--max-concurrent-calls 0", "--max-concurrent-calls: ", "nonzero");
    fails("--max-concurrent-calls 100001", "--max-concurrent-calls: ", "must be 1 to 100000");
    fails("--telemetry-max-age-days 0", "--telemetry-max-age-days: telemetry.max_age_days is 0", "36500");
    fails("--drain-seconds 18446744073709551615", "--drain-seconds is ", "more than anything");
    fails("--log-format xml", "--log-format: ", "xml");
    fails("--log-level picloud=loud", "--log-level: log.level `picloud=loud`", "no filter");
    fails("--log-level inof", "--log-level: log.level `inof`", "no level");
    fails("--address example.org:80", "--address: address `example.org:80` is not IP:PORT", "127.0.0.1:8080");
}

#[test]
fn a_wrong_variable_is_named() {
    let fails = |name: &str, value: &str, why: &str| {
        let error = resolve(flags(""), &[(name, value)], None).unwrap_err();
        assert!(error.starts_with(name) && error.contains(why), "{name}={value}: {error}");
    };
    fails("PICLOUD_DRAIN_SECONDS", "soon", "is `soon`, but must be a whole number");
    fails("PICLOUD_DRAIN_SECONDS", "3601", ": drain_seconds is 3601, but must be 0 to 3600");
    fails("PICLOUD_ADDRESS", "foo", ": address `foo` is not IP:PORT");
    fails("PICLOUD_LOG_FORMAT", "x", ": unknown variant `x`");
    fails("PICLOUD_LIMITS_MEMORY_BYTES", "1", ": limit memory_bytes is 1 bytes");
    fails("PICLOUD_FS", "a=/a,b", ": `b` is not NAME=PATH");
    fails("PICLOUD_DEV", "perhaps", "must be true or false");
    fails("PICLOUD_MQTT", "http://b", ": mqtt is not mqtt://[USER:PASSWORD@]HOST[:PORT]: it must start with");
}

#[test]
fn a_wrong_line_of_the_file_is_named() {
    let fails = |file: &str, why: &str| {
        let error = resolve(flags(""), &[], Some(file)).unwrap_err();
        assert!(error.contains(why), "{file}: {error}");
    };
    fails("dev = true\n\ndrain_seconds = 4000", ": line 3: drain_seconds is 4000, but must be 0 to 3600");
    fails("[telemetry]\n# no\nmax_bytes = 1", ": line 3: telemetry.max_bytes is 1, but must be ");
    fails("limits.memory_bytes = 64_000_000\nlimits.fuel = 0", ": line 2: limit fuel is 0 units");
    fails("[quotas]\nversions = 5\nqueued_events = 0", ": line 3: quota queued_events is 0 events");
    fails("# the log\nlog = { level = \"inof\" }", ": line 2: log.level `inof`");
    fails("data_dir = \"\"", ": line 1: data_dir is empty");
    fails("\naddress = \"pi\"", "line 2");
    fails("[fs.data]\npath = \"/a\"\n[fs.B]\npath = \"/b\"", ": line 3: fs: `B`: a name starts with");
    fails("[fs.data]\npath = \"/a\"\nmode = 1", "unknown field `mode`");
    fails("[fs.data]\nwritable = true", "missing field `path`");
    fails("[fs.data]\npath = \"/a\"\napps = [\"a b\"]", "fs.data.apps: `a b`: a name starts with");
}

#[test]
fn two_settings_that_do_not_go_together_are_both_named() {
    let error = resolve(flags("--body-memory-bytes 1000"), &[], None).unwrap_err();
    assert!(error.contains("body_memory_bytes") && error.contains("limits.request_body_bytes"), "{error}");
    let fits = flags("--body-memory-bytes 1000 --limit request-body-bytes=1000");
    assert_eq!(resolve(fits, &[], None).unwrap().body_memory_bytes, Some(1000));
    let error = resolve(flags("--admin-address localhost:8080"), &[], None).unwrap_err();
    assert!(error.contains("address and admin_address are both 127.0.0.1:8080"), "{error}");
    assert!(resolve(flags("--address 127.0.0.1:0 --admin-address 127.0.0.1:0"), &[], None).is_ok());
    let error = resolve(flags("--public-url pi.example"), &[], None).unwrap_err();
    assert!(error.contains("public_url: `pi.example` is not the URL of a server"), "{error}");
    let error = resolve(flags("--dev --admin-address 0.0.0.0:9000"), &[], None).unwrap_err();
    assert!(error.contains("--dev") && error.contains("0.0.0.0:9000"), "{error}");
}

#[test]
fn a_file_that_is_not_there_is_an_error() {
    let error = resolve(flags("--config /no/such/file.toml"), &[], None).unwrap_err();
    assert!(error.starts_with("/no/such/file.toml: "), "{error}");
    let env = [("PICLOUD_CONFIG", "/no/such/either.toml")];
    assert!(resolve(flags(""), &env, None).unwrap_err().starts_with("/no/such/either.toml: "));
}

#[test]
fn proxies_are_addresses_and_networks() {
    let config = resolve(flags("--trusted-proxies 127.0.0.1,2001:db8::/32"), &[], None).unwrap();
    assert_eq!(config.trusted_proxies, ["127.0.0.1/32".parse().unwrap(), "2001:db8::/32".parse().unwrap()]);
    let env = [("PICLOUD_TRUSTED_PROXIES", "10.0.0.0/8, 127.0.0.1")];
    assert_eq!(resolve(flags(""), &env, None).unwrap().trusted_proxies.len(), 2);
    assert_eq!(resolve(flags(""), &[], Some("trusted_proxies = \"\"")).unwrap().trusted_proxies, []);
    for wrong in ["proxy.example", "10.0.0.0/33", "127.0.0.1:80"] {
        let error = resolve(flags(&format!("--trusted-proxies {wrong}")), &[], None).unwrap_err();
        assert!(error.contains(wrong) && error.contains("--trusted-proxies"), "{error}");
    }
}
