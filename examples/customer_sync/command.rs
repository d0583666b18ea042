//! Reads the command line: what a person types, and what the processes of this example pass to each other.

use crate::servers::services::{self, Service};
use anyhow::{Context, bail, ensure};
use poet_simulator::Pattern;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

pub(crate) const HELP: &str = "\
Keeps customers in step over four failing MCP servers, twice, and shows what the second run learned from the first.

    cargo run --release --example customer_sync -- [options]

    --customers N   customers in each run (400)
    --parallel N    customers at a time (8)
    --seed N        another world with the same shares of faults (7)
    --data DIR      where to put the databases: a new or empty folder, which is kept
    --keep          keep the databases; without --data they go to a temporary folder
    --help          this text

One of the servers alone, to look at with another client:

    customer_sync --serve NAME (--stdio | --port N) --data DIR [--seed N] [--pattern TEXT]

    NAME            customer_database, salesforce_crm, billing_system or analytics_warehouse
    --port N        over HTTP at /mcp, until its input ends; 0 for any free port, which is printed
    --pattern TEXT  what goes wrong, such as \"takes 20ms; every 3rd call fails; 1% of calls hang\"
";

/// What is to be done.
#[derive(Debug)]
pub(crate) enum Command {
    Help,
    Demonstrate(Demonstration),
    Work(Shift),
    Serve(Posting),
}

/// Both runs.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Demonstration {
    pub(crate) customers: u32,
    pub(crate) parallel: usize,
    pub(crate) seed: u64,
    data: Option<PathBuf>,
    keep: bool,
}

/// One run, in a process of its own.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Shift {
    pub(crate) folder: PathBuf,
    /// The number before that of the first customer.
    pub(crate) skip: u32,
    pub(crate) customers: u32,
    pub(crate) parallel: usize,
    pub(crate) seed: u64,
    /// The services that are reached over HTTP, and where.
    pub(crate) addresses: Vec<(String, String)>,
}

/// One server.
#[derive(Debug)]
pub(crate) struct Posting {
    pub(crate) service: &'static Service,
    pub(crate) folder: PathBuf,
    pub(crate) pattern: Pattern,
    /// `None` for standard input and output.
    pub(crate) port: Option<u16>,
}

/// The most customers that the customer database knows, for two runs.
const MOST_CUSTOMERS: u32 = 5_000;

/// What was written, before it is known what it was written for.
#[derive(Default)]
struct Written {
    help: bool,
    work: bool,
    keep: bool,
    stdio: bool,
    serve: Option<String>,
    port: Option<u16>,
    data: Option<PathBuf>,
    pattern: Option<Pattern>,
    seed: Option<u64>,
    customers: Option<u32>,
    parallel: Option<usize>,
    skip: Option<u32>,
    addresses: Vec<(String, String)>,
}

impl Command {
    /// Reads the arguments after the program's name.
    pub(crate) fn read(arguments: impl IntoIterator<Item = String>) -> anyhow::Result<Self> {
        let mut written = Written::default();
        let mut arguments = arguments.into_iter();
        while let Some(name) = arguments.next() {
            let mut value = || arguments.next().with_context(|| format!("`{name}` needs a value"));
            match name.as_str() {
                "--help" | "-h" => written.help = true,
                "--work" => written.work = true,
                "--keep" => written.keep = true,
                "--stdio" => written.stdio = true,
                "--serve" => written.serve = Some(value()?),
                "--data" => written.data = Some(value()?.into()),
                "--port" => written.port = Some(number(&name, &value()?)?),
                "--seed" => written.seed = Some(number(&name, &value()?)?),
                "--customers" => written.customers = Some(number(&name, &value()?)?),
                "--parallel" => written.parallel = Some(number(&name, &value()?)?),
                "--skip" => written.skip = Some(number(&name, &value()?)?),
                "--pattern" => written.pattern = Some(value()?.parse().context("`--pattern`")?),
                "--at" => {
                    let value = value()?;
                    let (service, url) = value.split_once('=').context("`--at` needs NAME=URL")?;
                    written.addresses.push((service.to_owned(), url.to_owned()));
                }
                _ => bail!("`{name}` is not known; `--help` shows what is"),
            }
        }
        written.meant()
    }
}

impl Written {
    fn meant(self) -> anyhow::Result<Command> {
        if self.help {
            return Ok(Command::Help);
        }
        let seed = self.seed.unwrap_or(7);
        if let Some(name) = self.serve {
            let service = services::named(&name).with_context(|| format!("there is no service `{name}`"))?;
            ensure!(self.stdio != self.port.is_some(), "`--serve` needs either `--stdio` or `--port`");
            let pattern = match self.pattern {
                Some(pattern) => pattern,
                None => service.pattern.parse::<Pattern>()?.with_seed(seed),
            };
            let folder = self.data.context("`--serve` needs `--data`")?;
            return Ok(Command::Serve(Posting { service, folder, pattern, port: self.port }));
        }
        let customers = self.customers.unwrap_or(400);
        ensure!((1..=MOST_CUSTOMERS).contains(&customers), "`--customers` must be between 1 and {MOST_CUSTOMERS}");
        let parallel = self.parallel.unwrap_or(8);
        ensure!((1..=256).contains(&parallel), "`--parallel` must be between 1 and 256");
        if self.work {
            let folder = self.data.context("`--work` needs `--data`")?;
            let (skip, addresses) = (self.skip.unwrap_or(0), self.addresses);
            return Ok(Command::Work(Shift { folder, skip, customers, parallel, seed, addresses }));
        }
        Ok(Command::Demonstrate(Demonstration { customers, parallel, seed, data: self.data, keep: self.keep }))
    }
}

fn number<N: std::str::FromStr>(name: &str, text: &str) -> anyhow::Result<N> {
    text.parse().ok().with_context(|| format!("`{name}` needs a whole number in its range, not `{text}`"))
}

/// Where the databases are.
#[derive(Debug)]
pub(crate) enum Folder {
    /// Removed at the end unless it is kept.
    Temporary(TempDir),
    /// Given by the user, and never removed.
    Given(PathBuf),
}

impl Folder {
    pub(crate) fn path(&self) -> &Path {
        match self {
            Self::Temporary(folder) => folder.path(),
            Self::Given(folder) => folder,
        }
    }

    /// Where the databases stay, if they stay.
    pub(crate) fn keep(self, demonstration: &Demonstration) -> Option<PathBuf> {
        match self {
            Self::Given(folder) => Some(folder),
            Self::Temporary(folder) => demonstration.keep.then(|| folder.keep()),
        }
    }
}

impl Demonstration {
    /// The folder of this demonstration, which is empty.
    pub(crate) fn folder(&self) -> anyhow::Result<Folder> {
        let Some(folder) = &self.data else {
            let folder = tempfile::Builder::new().prefix("customer_sync-").tempdir();
            return folder.map(Folder::Temporary).context("making a temporary folder");
        };
        std::fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
        let mut entries = std::fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))?;
        ensure!(entries.next().is_none(), "{} is not empty, and the first run starts from nothing", folder.display());
        Ok(Folder::Given(folder.clone()))
    }

    /// The run of that number, with customers of its own.
    pub(crate) fn shift(&self, folder: &Path, run: u32) -> Shift {
        Shift {
            folder: folder.to_owned(),
            skip: run * self.customers,
            customers: self.customers,
            parallel: self.parallel,
            seed: self.seed,
            addresses: Vec::new(),
        }
    }
}

impl Shift {
    /// The arguments that say this to another process.
    pub(crate) fn arguments(&self) -> Vec<std::ffi::OsString> {
        let numbers = [
            ("--skip", u64::from(self.skip)),
            ("--customers", u64::from(self.customers)),
            ("--parallel", self.parallel as u64),
            ("--seed", self.seed),
        ];
        let mut arguments = vec!["--work".into(), "--data".into(), self.folder.clone().into_os_string()];
        arguments.extend(numbers.into_iter().flat_map(|(name, number)| [name.into(), number.to_string().into()]));
        arguments.extend(self.addresses.iter().flat_map(|(name, url)| ["--at".into(), format!("{name}={url}").into()]));
        arguments
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> anyhow::Result<Command> {
        Command::read(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn nothing_written_means_the_demonstration() {
        let Command::Demonstrate(demonstration) = read("").unwrap() else { panic!("another command") };
        assert_eq!((demonstration.customers, demonstration.parallel, demonstration.seed), (400, 8, 7));
    }

    #[test]
    fn a_shift_is_read_as_it_was_passed_on() {
        let Command::Demonstrate(demonstration) = read("--customers 30 --seed 9").unwrap() else {
            panic!("another command")
        };
        let mut shift = demonstration.shift(Path::new("/tmp/x"), 1);
        shift.addresses.push(("salesforce_crm".to_owned(), "http://127.0.0.1:1/mcp?a=b".to_owned()));
        let arguments = shift.arguments().into_iter().map(|argument| argument.into_string().unwrap());
        let Command::Work(read) = Command::read(arguments).unwrap() else { panic!("another command") };
        assert_eq!(read, shift);
        assert_eq!(read.skip, 30);
    }

    #[test]
    fn a_server_needs_exactly_one_way_to_be_reached() {
        assert!(read("--serve billing_system --data x").is_err());
        assert!(read("--serve billing_system --data x --stdio --port 0").is_err());
        assert!(matches!(read("--serve billing_system --data x --stdio").unwrap(), Command::Serve(_)));
    }

    #[test]
    fn what_is_not_known_is_named() {
        for (line, named) in [
            ("--custmers 3", "--custmers"),
            ("--customers many", "many"),
            ("--customers 0", "between 1 and"),
            ("--serve billing --data x --stdio", "`billing`"),
            ("--seed", "--seed"),
        ] {
            let error = format!("{:#}", read(line).unwrap_err());
            assert!(error.contains(named), "{error}");
        }
    }
}
