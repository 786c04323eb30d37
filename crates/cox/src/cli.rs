//! What can be asked: the commands and their flags, as clap reads them. No behaviour.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// The command line of Coxswain.
#[derive(Debug, Parser)]
#[command(name = "cox", version, about = "Runs a Coxswain cluster and talks to it")]
pub struct Cli {
    /// What every command takes.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What every command takes.
#[derive(Debug, Clone, Args)]
pub struct Global {
    /// Where the cluster of this machine keeps its data.
    #[arg(
        long,
        global = true,
        env = "COXSWAIN_DATA_DIR",
        default_value = "/var/lib/coxswain",
        value_name = "DIR"
    )]
    pub data_dir: PathBuf,
    /// The kubeconfig of the cluster to talk to; by default the one of this machine's cluster.
    #[arg(long, global = true, env = "KUBECONFIG", value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// The namespace; by default the one of the kubeconfig.
    #[arg(long, short, global = true)]
    pub namespace: Option<String>,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Starts a cluster on this machine
    Up(UpArgs),
    /// Ends the cluster of this machine; its data stays
    Down(DownArgs),
    /// Shows how the cluster of this machine is
    Status,
    /// Writes everything that the cluster stores to a file, as of one moment
    Backup(BackupArgs),
    /// Makes the store of this machine's cluster of a backup; the cluster must be down
    Restore(RestoreArgs),
    /// Makes a new key for Secrets at rest and encrypts all of them anew
    RotateKeys,
    /// Shows how objects came to be as they are: who changed what, and when
    History(HistoryArgs),
    /// Shows what differs between a past moment and now
    Diff(DiffArgs),
    /// Brings back a deleted object, or a namespace, with what it owned
    Undelete(UndeleteArgs),
    /// Lets people in, and takes that back
    User(UserArgs),
    /// Writes a kubeconfig that shows the cluster of a past moment, to be read only
    Context(ContextArgs),
    /// Prints the objects that people and tools have made as YAML, for another cluster
    Export(ExportArgs),
    /// Creates or changes the objects of an export, in an order that works
    Import(ImportArgs),
    /// The process behind `cox up`
    #[command(hide = true)]
    Supervise(UpArgs),
    /// Creates or changes objects to be as a manifest says (server-side apply)
    Apply(ApplyArgs),
    /// Lists objects
    Get(GetArgs),
    /// Shows objects at length, with their events
    Describe(DescribeArgs),
    /// Deletes objects
    Delete(DeleteArgs),
    /// Sets the number of replicas
    Scale(ScaleArgs),
    /// Prints the log of a container
    Logs(LogsArgs),
    /// Runs a command in a container
    Exec(ExecArgs),
    /// Joins the first process of a container
    Attach(AttachArgs),
    /// Makes ports of a pod ports of this machine
    PortForward(PortForwardArgs),
    /// Follows and steers the roll-out of a Deployment
    Rollout(RolloutArgs),
}

/// `cox up`.
#[derive(Debug, Clone, Default, Args)]
pub struct UpArgs {
    /// Start apiserver, scheduler and controllers only, no node
    #[arg(long)]
    pub control_plane_only: bool,
    /// The address that the apiserver listens on
    #[arg(long, default_value = "0.0.0.0", value_name = "ADDRESS")]
    pub bind_address: String,
    /// The port of the apiserver
    #[arg(long, default_value_t = 6443, value_name = "PORT")]
    pub secure_port: u16,
    /// How much of the disk the history of all objects may take; the oldest goes first
    #[arg(long, default_value = "512Mi", value_name = "QUANTITY")]
    pub history_size: String,
    /// The name of this node; by default the host's name
    #[arg(long, value_name = "NAME")]
    pub node_name: Option<String>,
    /// The address of this node; by default the one its default route uses
    #[arg(long, value_name = "ADDRESS")]
    pub node_ip: Option<String>,
    /// Where Docker Engine listens
    #[arg(long, default_value = "unix:///var/run/docker.sock", value_name = "URL")]
    pub docker_endpoint: String,
    /// A mirror to pull the images of a registry from, as docker.io=http://127.0.0.1:5000; may be repeated
    #[arg(long, value_name = "REGISTRY=URL")]
    pub registry_mirror: Vec<String>,
    /// The registry of images that name none
    #[arg(long, default_value = "docker.io", value_name = "HOST")]
    pub default_registry: String,
    /// The namespace of images of the default registry that name none
    #[arg(long, default_value = "library", value_name = "NAME")]
    pub default_namespace: String,
    /// The image that holds a pod's network; by default one that the kubelet builds itself
    #[arg(long, value_name = "IMAGE")]
    pub pause_image: Option<String>,
    /// Credentials of registries: a file with a line `HOST USER PASSWORD` for each
    #[arg(long, value_name = "FILE")]
    pub registry_credentials: Option<PathBuf>,
}

/// `cox user`.
#[derive(Debug, Args)]
pub struct UserArgs {
    /// What to do
    #[command(subcommand)]
    pub command: UserCommand,
}

/// What `cox user` does.
#[derive(Debug, Subcommand)]
pub enum UserCommand {
    /// Writes a kubeconfig with a new token for somebody; roles say what the name and the groups may do
    Add(UserAddArgs),
    /// Takes back every token of somebody
    Remove(UserRemoveArgs),
}

/// `cox user add`.
#[derive(Debug, Args)]
pub struct UserAddArgs {
    /// The name, as bindings have it
    #[arg(value_name = "NAME")]
    pub name: String,
    /// The groups, as bindings have them; system:masters may do everything
    #[arg(long, value_delimiter = ',', value_name = "GROUP,...")]
    pub groups: Vec<String>,
    /// After how many days the token expires
    #[arg(long, default_value_t = 365, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..=3650))]
    pub days: u32,
    /// Where to write the kubeconfig; NAME.kubeconfig by default
    #[arg(long, short, value_name = "FILE")]
    pub filename: Option<PathBuf>,
}

/// `cox user remove`.
#[derive(Debug, Args)]
pub struct UserRemoveArgs {
    /// The name
    #[arg(value_name = "NAME")]
    pub name: String,
}

/// `cox down`.
#[derive(Debug, Args)]
pub struct DownArgs {
    /// Remove the cluster's data too
    #[arg(long)]
    pub purge: bool,
}

/// `cox history`.
#[derive(Debug, Args)]
pub struct HistoryArgs {
    /// TYPE/NAME or TYPE NAME...; they need not be there any more
    #[command(flatten)]
    pub objects: Objects,
    /// The newest versions only
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
}

/// `cox diff`.
#[derive(Debug, Args)]
pub struct DiffArgs {
    /// The moment to compare with: 1h, 2d, 2026-11-23T03:12:00Z, or r1234 for a revision
    #[arg(long, value_name = "MOMENT")]
    pub since: String,
    /// A later moment; now by default
    #[arg(long, default_value = "", value_name = "MOMENT")]
    pub until: String,
    /// Which resources, as pods,services; all but events and leases by default
    #[arg(value_name = "TYPE")]
    pub types: Option<String>,
    /// In all namespaces, and what is in none
    #[arg(long, short = 'A')]
    pub all_namespaces: bool,
}

/// `cox undelete`.
#[derive(Debug, Args)]
pub struct UndeleteArgs {
    /// TYPE/NAME or TYPE NAME...
    #[command(flatten)]
    pub objects: Objects,
    /// Only show what would come back
    #[arg(long)]
    pub dry_run: bool,
}

/// `cox context`.
#[derive(Debug, Args)]
pub struct ContextArgs {
    /// The moment: 10m, 2d, 2026-11-23T03:12:00Z, or r1234 for a revision
    #[arg(long, value_name = "MOMENT")]
    pub at: String,
    /// Where to write it
    #[arg(long, short, default_value = "past.kubeconfig", value_name = "FILE")]
    pub filename: PathBuf,
}

/// `cox backup`.
#[derive(Debug, Args)]
pub struct BackupArgs {
    /// Where to write it. It holds Secrets as they are: keep it as you keep those
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
}

/// `cox restore`.
#[derive(Debug, Args)]
pub struct RestoreArgs {
    /// The backup
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Set a store that is there aside and restore into an empty one
    #[arg(long)]
    pub replace: bool,
}

/// `cox export`.
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// Where to write it; standard output by default
    #[arg(long, short, value_name = "FILE")]
    pub filename: Option<PathBuf>,
}

/// `cox import`.
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// A manifest, or a folder of manifests; - is standard input
    #[arg(required = true, value_name = "FILE")]
    pub filename: Vec<PathBuf>,
}

/// `cox apply`.
#[derive(Debug, Args)]
pub struct ApplyArgs {
    /// A manifest, or a folder of manifests; - is standard input
    #[arg(long, short, required = true, value_name = "FILE")]
    pub filename: Vec<PathBuf>,
    /// Take over fields that others manage
    #[arg(long)]
    pub force_conflicts: bool,
    /// Everything but the storing
    #[arg(long)]
    pub dry_run: bool,
}

/// Which objects: `pods`, `pod/web`, `deploy web db`.
#[derive(Debug, Clone, Args)]
pub struct Objects {
    /// TYPE, TYPE/NAME or TYPE NAME...
    #[arg(required = true, value_name = "TYPE[/NAME]")]
    pub objects: Vec<String>,
}

/// `cox get`.
#[derive(Debug, Args)]
pub struct GetArgs {
    /// Which objects.
    #[command(flatten)]
    pub objects: Objects,
    /// In all namespaces
    #[arg(long, short = 'A')]
    pub all_namespaces: bool,
    /// Only those with these labels
    #[arg(long, short = 'l', default_value = "", value_name = "SELECTOR")]
    pub selector: String,
    /// Only those with these fields
    #[arg(long, default_value = "", value_name = "SELECTOR")]
    pub field_selector: String,
    /// wide, json, yaml or name
    #[arg(long, short, value_enum, default_value_t, value_name = "FORMAT")]
    pub output: Format,
    /// Go on and show each change
    #[arg(long, short)]
    pub watch: bool,
    /// As they were at a moment: 10m ago, 2026-11-23T03:12:00Z, or r1234 for a revision
    #[arg(long, value_name = "MOMENT")]
    pub at: Option<String>,
}

/// How objects are printed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// The usual columns.
    #[default]
    Table,
    /// All columns.
    Wide,
    /// The objects as JSON.
    Json,
    /// The objects as YAML.
    Yaml,
    /// `TYPE/NAME`.
    Name,
}

/// `cox describe`.
#[derive(Debug, Args)]
pub struct DescribeArgs {
    /// Which objects.
    #[command(flatten)]
    pub objects: Objects,
    /// Only those with these labels
    #[arg(long, short = 'l', default_value = "", value_name = "SELECTOR")]
    pub selector: String,
    /// As they were at a moment: 10m ago, 2026-11-23T03:12:00Z, or r1234 for a revision
    #[arg(long, value_name = "MOMENT")]
    pub at: Option<String>,
}

/// `cox delete`.
#[derive(Debug, Args)]
pub struct DeleteArgs {
    /// TYPE/NAME or TYPE NAME...
    #[arg(value_name = "TYPE[/NAME]")]
    pub objects: Vec<String>,
    /// The objects of a manifest
    #[arg(long, short, value_name = "FILE")]
    pub filename: Vec<PathBuf>,
    /// Those with these labels
    #[arg(long, short = 'l', default_value = "", value_name = "SELECTOR")]
    pub selector: String,
    /// Seconds until containers are killed
    #[arg(long, value_name = "SECONDS")]
    pub grace_period: Option<i64>,
    /// background, foreground or orphan
    #[arg(long, default_value = "background", value_name = "POLICY")]
    pub cascade: String,
    /// Return at once, not when the objects are gone
    #[arg(long)]
    pub no_wait: bool,
    /// Objects that are not there are no error
    #[arg(long)]
    pub ignore_not_found: bool,
}

/// `cox scale`.
#[derive(Debug, Args)]
pub struct ScaleArgs {
    /// Which objects.
    #[command(flatten)]
    pub objects: Objects,
    /// How many there shall be
    #[arg(long, value_name = "N")]
    pub replicas: i32,
    /// Only if there are that many now
    #[arg(long, value_name = "N")]
    pub current_replicas: Option<i32>,
}

/// `cox logs`.
#[derive(Debug, Args)]
pub struct LogsArgs {
    /// POD, or TYPE/NAME of something that has pods
    #[arg(value_name = "POD")]
    pub pod: String,
    /// Which container; the first by default
    #[arg(long, short, default_value = "", value_name = "NAME")]
    pub container: String,
    /// Go on while the container writes
    #[arg(long, short)]
    pub follow: bool,
    /// Of the container before the last restart
    #[arg(long, short)]
    pub previous: bool,
    /// With the time of each line
    #[arg(long)]
    pub timestamps: bool,
    /// The last lines only
    #[arg(long, value_name = "LINES")]
    pub tail: Option<i64>,
    /// Of the last seconds only
    #[arg(long, value_name = "SECONDS")]
    pub since: Option<i64>,
}

/// Whose process it is, and what it is given.
#[derive(Debug, Args)]
pub struct ProcessArgs {
    /// POD, or TYPE/NAME of something that has pods
    #[arg(value_name = "POD")]
    pub pod: String,
    /// Which container; the only one by default
    #[arg(long, short, default_value = "", value_name = "NAME")]
    pub container: String,
    /// Give it this command's standard input
    #[arg(long, short = 'i')]
    pub stdin: bool,
    /// With a terminal
    #[arg(long, short = 't')]
    pub tty: bool,
}

/// `cox exec`.
#[derive(Debug, Args)]
pub struct ExecArgs {
    /// Whose process it is, and what it is given.
    #[command(flatten)]
    pub process: ProcessArgs,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub command: Vec<String>,
}

/// `cox attach`.
#[derive(Debug, Args)]
pub struct AttachArgs {
    /// Whose process it is, and what it is given.
    #[command(flatten)]
    pub process: ProcessArgs,
}

/// `cox port-forward`.
#[derive(Debug, Args)]
pub struct PortForwardArgs {
    /// POD, or TYPE/NAME of something that has pods
    #[arg(value_name = "POD")]
    pub pod: String,
    /// LOCAL:REMOTE, or REMOTE for the same port here; a LOCAL of 0 or none is any free port
    #[arg(required = true, value_name = "[LOCAL:]REMOTE")]
    pub ports: Vec<String>,
    /// The address of this machine to listen on
    #[arg(long, default_value = "127.0.0.1", value_name = "ADDRESS")]
    pub address: std::net::IpAddr,
}

/// `cox rollout`.
#[derive(Debug, Args)]
pub struct RolloutArgs {
    /// What to do.
    #[command(subcommand)]
    pub action: RolloutAction,
}

/// What to do with a roll-out.
#[derive(Debug, Subcommand)]
pub enum RolloutAction {
    /// Waits until it is complete
    Status(Objects),
    /// Lists the revisions
    History(Objects),
    /// Goes back to an earlier revision
    Undo {
        /// Which.
        #[command(flatten)]
        objects: Objects,
        /// The revision; the one before by default
        #[arg(long, default_value_t = 0, value_name = "REVISION")]
        to_revision: i64,
    },
    /// Holds it
    Pause(Objects),
    /// Lets it go on
    Resume(Objects),
    /// Replaces all pods one after the other
    Restart(Objects),
}
