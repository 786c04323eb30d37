//! What is recorded of which requests: the `audit.k8s.io/v1` Policy. The first rule that fits decides.

use serde::Deserialize;

use crate::pipeline::UserInfo;

/// How much is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub enum Level {
    /// Nothing.
    None,
    /// Who asked for what, and what came of it.
    Metadata,
    /// That, and what was sent.
    Request,
    /// That, and what was answered.
    RequestResponse,
}

impl Level {
    /// As in a policy.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "None",
            Self::Metadata => "Metadata",
            Self::Request => "Request",
            Self::RequestResponse => "RequestResponse",
        }
    }
}

/// When a record is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum Stage {
    /// Never recorded here: what is asked for is known too late for that.
    RequestReceived,
    /// A watch or another stream has begun.
    ResponseStarted,
    /// The answer is complete.
    ResponseComplete,
    /// The handler failed badly.
    Panic,
}

impl Stage {
    /// As in a record.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RequestReceived => "RequestReceived",
            Self::ResponseStarted => "ResponseStarted",
            Self::ResponseComplete => "ResponseComplete",
            Self::Panic => "Panic",
        }
    }
}

/// Why a policy is refused.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// It is not of the form.
    #[error("not an audit policy: {0}")]
    Form(String),
    /// It is of another kind or version.
    #[error("not an audit.k8s.io/v1 Policy")]
    Kind,
    /// It says nothing.
    #[error("the policy has no rules")]
    Empty,
    /// A rule is about resources and paths at once.
    #[error("rule {0} is about resources and about paths; a rule is about one of them")]
    Mixed(usize),
    /// A path that no request can have.
    #[error("rule {0}: a path begins with a slash and may end in one asterisk")]
    Path(usize),
}

/// A policy.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Policy {
    #[serde(default)]
    api_version: String,
    #[serde(default)]
    kind: String,
    #[serde(default)]
    omit_stages: Vec<Stage>,
    #[serde(default)]
    omit_managed_fields: bool,
    #[serde(default)]
    rules: Vec<Rule>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Rule {
    level: Level,
    #[serde(default)]
    users: Vec<String>,
    #[serde(default)]
    user_groups: Vec<String>,
    #[serde(default)]
    verbs: Vec<String>,
    #[serde(default)]
    resources: Vec<GroupResources>,
    #[serde(default)]
    namespaces: Vec<String>,
    #[serde(default, rename = "nonResourceURLs")]
    paths: Vec<String>,
    #[serde(default)]
    omit_stages: Vec<Stage>,
    omit_managed_fields: Option<bool>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct GroupResources {
    #[serde(default)]
    group: String,
    #[serde(default)]
    resources: Vec<String>,
    #[serde(default)]
    resource_names: Vec<String>,
}

/// What a policy is asked about.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// Who asks.
    pub user: &'a UserInfo,
    /// As `get`.
    pub verb: &'a str,
    /// Empty where a path is asked for.
    pub resource: &'a str,
    /// As `log`.
    pub subresource: &'a str,
    /// Empty for the core group.
    pub group: &'a str,
    /// Empty for none.
    pub namespace: &'a str,
    /// Empty for collections.
    pub name: &'a str,
    /// The path of the request.
    pub path: &'a str,
}

/// What is to be recorded of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// How much.
    pub level: Level,
    /// When not.
    pub omit_stages: Vec<Stage>,
    /// Whether `managedFields` are left out.
    pub omit_managed_fields: bool,
}

impl Policy {
    /// Reads a policy, JSON or YAML.
    pub fn read(bytes: &[u8]) -> Result<Self, PolicyError> {
        let policy: Self =
            serde_saphyr::from_slice(bytes).map_err(|error| PolicyError::Form(error.to_string()))?;
        if policy.api_version != "audit.k8s.io/v1" || policy.kind != "Policy" {
            return Err(PolicyError::Kind);
        }
        if policy.rules.is_empty() {
            return Err(PolicyError::Empty);
        }
        for (at, rule) in policy.rules.iter().enumerate() {
            let of_resources = !rule.resources.is_empty() || !rule.namespaces.is_empty();
            if !rule.paths.is_empty() && of_resources {
                return Err(PolicyError::Mixed(at));
            }
            let good = |path: &String| {
                path == "*" || path.starts_with('/') && !path.strip_suffix('*').unwrap_or(path).contains('*')
            };
            if !rule.paths.iter().all(good) {
                return Err(PolicyError::Path(at));
            }
        }
        Ok(policy)
    }

    /// Metadata of everything.
    pub fn metadata() -> Self {
        let all = Rule {
            level: Level::Metadata,
            users: Vec::new(),
            user_groups: Vec::new(),
            verbs: Vec::new(),
            resources: Vec::new(),
            namespaces: Vec::new(),
            paths: Vec::new(),
            omit_stages: Vec::new(),
            omit_managed_fields: None,
        };
        Self {
            api_version: String::new(),
            kind: String::new(),
            omit_stages: Vec::new(),
            omit_managed_fields: false,
            rules: vec![all],
        }
    }

    /// Whether some request may be recorded at this level.
    pub fn reaches(&self, level: Level) -> bool {
        self.rules.iter().any(|rule| rule.level >= level)
    }

    /// What is to be recorded of a request.
    pub fn judge(&self, asked: &Asked<'_>) -> Verdict {
        let rule = self.rules.iter().find(|rule| rule.fits(asked));
        let mut omit_stages = self.omit_stages.clone();
        omit_stages.extend(rule.map(|rule| rule.omit_stages.as_slice()).unwrap_or_default());
        Verdict {
            level: rule.map_or(Level::None, |rule| rule.level),
            omit_stages,
            omit_managed_fields: rule
                .and_then(|rule| rule.omit_managed_fields)
                .unwrap_or(self.omit_managed_fields),
        }
    }
}

impl Rule {
    fn fits(&self, asked: &Asked<'_>) -> bool {
        let among = |list: &[String], item: &str| list.iter().any(|own| own == item);
        let named = |list: &[String], item: &str| list.is_empty() || among(list, item);
        if !named(&self.users, &asked.user.name)
            || !(self.user_groups.is_empty()
                || asked.user.groups.iter().any(|own| among(&self.user_groups, own)))
            || !named(&self.verbs, asked.verb)
        {
            return false;
        }
        if !self.paths.is_empty() {
            return asked.resource.is_empty() && self.paths.iter().any(|own| path_fits(own, asked.path));
        }
        if self.resources.is_empty() && self.namespaces.is_empty() {
            return true;
        }
        !asked.resource.is_empty()
            && named(&self.namespaces, asked.namespace)
            && (self.resources.is_empty() || self.resources.iter().any(|own| own.fits(asked)))
    }
}

impl GroupResources {
    fn fits(&self, asked: &Asked<'_>) -> bool {
        let fits = |own: &String| match own.split_once('/') {
            _ if own == "*" => true,
            None => asked.subresource.is_empty() && own == asked.resource,
            Some((resource, part)) => {
                !asked.subresource.is_empty()
                    && (resource == "*" || resource == asked.resource)
                    && (part == "*" || part == asked.subresource)
                    || part == "*" && asked.subresource.is_empty() && resource == asked.resource
            }
        };
        self.group == asked.group
            && (self.resources.is_empty()
                || self.resources.iter().any(fits)
                    && (self.resource_names.is_empty()
                        || self.resource_names.iter().any(|own| own == asked.name)))
    }
}

fn path_fits(own: &str, path: &str) -> bool {
    own == path || own.strip_suffix('*').is_some_and(|prefix| path.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: &str = r#"
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: None
  users: ["system:kube-proxy"]
  verbs: [watch]
- level: Request
  resources:
  - group: ""
    resources: ["configmaps"]
    resourceNames: ["a"]
  namespaces: ["kube-system"]
- level: RequestResponse
  omitManagedFields: true
  omitStages: [ResponseStarted]
  resources:
  - group: apps
  - group: ""
    resources: ["pods/*"]
- level: None
  nonResourceURLs: ["/healthz*", "/version"]
- level: Metadata
  userGroups: ["dev"]
"#;

    #[test]
    fn the_first_rule_that_fits_decides() {
        let policy = Policy::read(POLICY.as_bytes()).unwrap();
        let user = |name: &str, group: &str| UserInfo {
            name: name.to_owned(),
            groups: vec![group.to_owned()],
            ..UserInfo::default()
        };
        let (proxy, dev) = (user("system:kube-proxy", "x"), user("d", "dev"));
        let asked = Asked {
            user: &dev,
            verb: "get",
            resource: "configmaps",
            subresource: "",
            group: "",
            namespace: "kube-system",
            name: "a",
            path: "/x",
        };
        let path = Asked { resource: "", namespace: "", name: "", ..asked };
        for (asked, level) in [
            (asked, Level::Request),
            (Asked { name: "b", ..asked }, Level::Metadata),
            (Asked { namespace: "default", ..asked }, Level::Metadata),
            (Asked { user: &proxy, verb: "watch", ..asked }, Level::None),
            (Asked { group: "apps", resource: "deployments", ..asked }, Level::RequestResponse),
            (Asked { resource: "pods", subresource: "log", ..asked }, Level::RequestResponse),
            (Asked { path: "/healthz/etcd", ..path }, Level::None),
            (Asked { path: "/apis", ..path }, Level::Metadata),
            (Asked { path: "/apis", user: &proxy, ..path }, Level::None),
        ] {
            assert_eq!(policy.judge(&asked).level, level, "{asked:?}");
        }
        let verdict = policy.judge(&Asked { group: "apps", ..asked });
        assert_eq!(verdict.omit_stages, [Stage::RequestReceived, Stage::ResponseStarted]);
        assert!(verdict.omit_managed_fields);
    }

    #[test]
    fn what_is_no_policy_is_refused() {
        for (text, why) in [
            ("kind: Policy\nrules: [{level: None}]", "not an audit.k8s.io/v1 Policy"),
            ("apiVersion: audit.k8s.io/v1\nkind: Policy", "the policy has no rules"),
            (
                "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: None, namespaces: [a], nonResourceURLs: [/a]}]",
                "rule 0 is about resources and about paths; a rule is about one of them",
            ),
            (
                "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: None, nonResourceURLs: [\"/a*b\"]}]",
                "rule 0: a path begins with a slash and may end in one asterisk",
            ),
        ] {
            assert_eq!(Policy::read(text.as_bytes()).unwrap_err().to_string(), why);
        }
        assert!(Policy::read(b"apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: All}]").is_err());
    }
}
