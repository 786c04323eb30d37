//! The roles and bindings, compiled: from a user to the rules that are bound to it in a few look-ups.
//!
//! A binding stands under each of its subjects; its role is looked up when it is asked, since bindings may name roles
//! that do not exist yet. One change of an object changes only what it says.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use serde_json::Value;

use super::{Rule, Rules};
use crate::pipeline::{Attributes, UserInfo};

/// Which role a binding names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reference {
    /// Whether it is a ClusterRole.
    pub(super) cluster: bool,
    /// Its name.
    pub(super) name: String,
}

impl Reference {
    /// Reads `roleRef`.
    pub(super) fn read(reference: &Value) -> Self {
        Self {
            cluster: reference["kind"] == "ClusterRole",
            name: reference["name"].as_str().unwrap_or_default().to_owned(),
        }
    }

    fn kind(&self) -> &'static str {
        if self.cluster { "ClusterRole" } else { "Role" }
    }

    /// The plural of its resource.
    pub(super) fn plural(&self) -> &'static str {
        if self.cluster { "clusterroles" } else { "roles" }
    }

    /// That it is not there.
    pub(super) fn missing(&self) -> String {
        format!("{}.rbac.authorization.k8s.io {:?} not found", self.kind().to_lowercase(), self.name)
    }
}

/// One subject of one binding: why something is allowed.
#[derive(Debug, PartialEq, Eq)]
pub struct Grant {
    namespace: String,
    binding: String,
    role: Reference,
    subject: Subject,
}

/// As the reason of an answer.
impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { namespace, binding, role, subject } = self;
        f.write_str("RBAC: allowed by ")?;
        match namespace.as_str() {
            "" => write!(f, "ClusterRoleBinding {binding:?}")?,
            namespace => write!(f, "RoleBinding \"{binding}/{namespace}\"")?,
        }
        write!(f, " of {} {:?} to ", role.kind(), role.name)?;
        match subject {
            Subject::User(name) => write!(f, "User {name:?}"),
            Subject::Group(name) => write!(f, "Group {name:?}"),
            Subject::ServiceAccount { namespace, name } => {
                write!(f, "ServiceAccount \"{name}/{namespace}\"")
            }
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Subject {
    User(String),
    Group(String),
    ServiceAccount { namespace: String, name: String },
}

impl Subject {
    fn read(subject: &Value) -> Option<Self> {
        let text = |name: &str| subject[name].as_str().unwrap_or_default().to_owned();
        match subject["kind"].as_str()? {
            "User" => Some(Self::User(text("name"))),
            "Group" => Some(Self::Group(text("name"))),
            "ServiceAccount" => {
                Some(Self::ServiceAccount { namespace: text("namespace"), name: text("name") })
            }
            _ => None,
        }
    }
}

/// The bindings of a namespace, or those of the whole cluster.
#[derive(Default)]
struct Bindings {
    users: HashMap<String, Vec<Arc<Grant>>>,
    groups: HashMap<String, Vec<Arc<Grant>>>,
}

impl Bindings {
    fn list(&mut self, subject: &Subject) -> &mut Vec<Arc<Grant>> {
        match subject {
            Subject::User(name) => self.users.entry(name.clone()).or_default(),
            Subject::Group(name) => self.groups.entry(name.clone()).or_default(),
            Subject::ServiceAccount { namespace, name } => {
                self.users.entry(format!("system:serviceaccount:{namespace}:{name}")).or_default()
            }
        }
    }

    fn of<'a>(&'a self, user: &'a UserInfo) -> impl Iterator<Item = &'a Arc<Grant>> {
        let own = self.users.get(&user.name).into_iter();
        own.chain(user.groups.iter().filter_map(|group| self.groups.get(group))).flatten()
    }
}

/// All roles and bindings. Keys are namespaces and names; the namespace of what is in none is empty.
#[derive(Default)]
pub(super) struct Index {
    roles: HashMap<String, HashMap<String, Rules>>,
    bindings: HashMap<String, Bindings>,
    /// What each binding has put there, to take it away again.
    known: HashMap<(String, String), Vec<Arc<Grant>>>,
}

impl Index {
    /// Takes in a role, new or changed.
    pub(super) fn put_role(&mut self, namespace: &str, name: &str, role: &Value) {
        let rules = Rule::read_all(role).into_iter().map(Arc::new).collect();
        self.roles.entry(namespace.to_owned()).or_default().insert(name.to_owned(), rules);
    }

    /// Forgets a role.
    pub(super) fn remove_role(&mut self, namespace: &str, name: &str) {
        if let Some(roles) = self.roles.get_mut(namespace) {
            roles.remove(name);
        }
    }

    /// Takes in a binding, new or changed.
    pub(super) fn put_binding(&mut self, namespace: &str, name: &str, binding: &Value) {
        self.remove_binding(namespace, name);
        let role = Reference::read(&binding["roleRef"]);
        let subjects = binding["subjects"].as_array().into_iter().flatten().filter_map(Subject::read);
        let grants: Vec<Arc<Grant>> = subjects
            .map(|subject| {
                let (namespace, binding) = (namespace.to_owned(), name.to_owned());
                Arc::new(Grant { namespace, binding, role: role.clone(), subject })
            })
            .collect();
        let bindings = self.bindings.entry(namespace.to_owned()).or_default();
        for grant in &grants {
            let list = bindings.list(&grant.subject);
            let at = list.partition_point(|other| other.binding <= grant.binding);
            list.insert(at, grant.clone());
        }
        self.known.insert((namespace.to_owned(), name.to_owned()), grants);
    }

    /// Forgets a binding.
    pub(super) fn remove_binding(&mut self, namespace: &str, name: &str) {
        let grants = self.known.remove(&(namespace.to_owned(), name.to_owned()));
        let Some(bindings) = self.bindings.get_mut(namespace) else { return };
        for grant in grants.into_iter().flatten() {
            bindings.list(&grant.subject).retain(|other| !Arc::ptr_eq(other, &grant));
        }
    }

    /// The rules of a role that a binding in `namespace` names.
    pub(super) fn role(&self, namespace: &str, reference: &Reference) -> Option<Rules> {
        self.rules(namespace, reference).cloned()
    }

    fn rules(&self, namespace: &str, reference: &Reference) -> Option<&Rules> {
        self.roles.get(if reference.cluster { "" } else { namespace })?.get(&reference.name)
    }

    /// The first grant that allows what is asked for, or why there is none, which may be for no reason.
    pub(super) fn allows(&self, asked: &Attributes<'_>) -> Result<Arc<Grant>, String> {
        let mut missing: Vec<&Reference> = Vec::new();
        for grant in self.grants(asked.user, asked.namespace) {
            match self.rules(&grant.namespace, &grant.role) {
                Some(rules) if rules.iter().any(|rule| rule.allows(asked)) => return Ok(grant.clone()),
                Some(_) => {}
                None if missing.contains(&&grant.role) => {}
                None => missing.push(&grant.role),
            }
        }
        let texts: Vec<String> = missing.into_iter().map(Reference::missing).collect();
        Err(match texts.as_slice() {
            [] => String::new(),
            [one] => format!("RBAC: {one}"),
            many => format!("RBAC: [{}]", many.join(", ")),
        })
    }

    /// Everything that a user is granted in a namespace, and which roles there are not.
    pub(super) fn rules_of(&self, user: &UserInfo, namespace: &str) -> (Vec<Arc<Rule>>, Vec<String>) {
        let mut all = Vec::new();
        let mut errors = Vec::new();
        for grant in self.grants(user, namespace) {
            match self.rules(&grant.namespace, &grant.role) {
                Some(rules) => all.extend(rules.iter().cloned()),
                None => errors.push(grant.role.missing()),
            }
        }
        (all, errors)
    }

    fn grants<'a>(&'a self, user: &'a UserInfo, namespace: &str) -> impl Iterator<Item = &'a Arc<Grant>> {
        let cluster = self.bindings.get("");
        let own = Some(namespace).filter(|namespace| !namespace.is_empty());
        let own = own.and_then(|namespace| self.bindings.get(namespace));
        cluster.into_iter().chain(own).flat_map(|bindings| bindings.of(user))
    }
}
