//! The authorizer as expressions see it: who asks may be asked what he may do.
//!
//! ```text
//! authorizer.group('apps').resource('deployments').namespace('n').name('x').check('delete').allowed()
//! authorizer.path('/metrics').check('get').reason()      authorizer.serviceAccount('n', 'x').group('')..
//! authorizer.requestResource.check('patch').allowed()
//! ```

use std::fmt;
use std::sync::Arc;

use cel::Context;
use cel::extractors::This;
use cel::objects::{Opaque, Value};

use super::library::{Answer, declare, failed};
use crate::authn::accounts;
use crate::pipeline::{Attributes, Authorizer, Decision, UserInfo};

/// Whom to ask, and about whom.
#[derive(Clone)]
pub(crate) struct Asker {
    /// Who decides.
    pub(crate) authorizer: Arc<dyn Authorizer>,
    /// Who is asked about.
    pub(crate) user: Arc<UserInfo>,
}

/// A resource that is asked about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Resource {
    /// Empty for the core group.
    pub(crate) group: String,
    /// As `pods`.
    pub(crate) resource: String,
    /// As `log`, or empty.
    pub(crate) subresource: String,
    /// Empty for all.
    pub(crate) namespace: String,
    /// Empty for all.
    pub(crate) name: String,
}

/// How far the question is told.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Question {
    Nothing,
    Path(String),
    Group(String),
    Resource(Resource),
    Answered { allowed: bool, reason: String },
}

/// A question as a value.
#[derive(Clone)]
struct Asked {
    asker: Asker,
    question: Question,
}

impl fmt::Debug for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} of {}", self.question, self.asker.user.name)
    }
}

impl PartialEq for Asked {
    fn eq(&self, other: &Self) -> bool {
        self.asker.user == other.asker.user && self.question == other.question
    }
}

impl Eq for Asked {}

impl Opaque for Asked {
    fn runtime_type_name(&self) -> &str {
        "kubernetes.authorization.Authorizer"
    }
}

impl Asker {
    /// The variable `authorizer`.
    pub(crate) fn value(&self) -> Value {
        self.asked(Question::Nothing)
    }

    /// The variable `authorizer.requestResource`.
    pub(crate) fn of_resource(&self, resource: Resource) -> Value {
        self.asked(Question::Resource(resource))
    }

    fn asked(&self, question: Question) -> Value {
        Value::Opaque(Arc::new(Asked { asker: self.clone(), question }))
    }

    fn decide(&self, attributes: &Attributes<'_>) -> Value {
        let (allowed, reason) = match self.authorizer.authorize(attributes) {
            Decision::Allow(grant) => (true, grant.map(|grant| grant.to_string()).unwrap_or_default()),
            Decision::Deny(why) => (false, why),
        };
        self.asked(Question::Answered { allowed, reason })
    }

    /// The same authorizer, asked about a service account.
    fn about_account(&self, namespace: &str, name: &str) -> Self {
        let user = UserInfo {
            name: accounts::username(namespace, name),
            groups: accounts::groups(namespace),
            ..UserInfo::default()
        };
        Self { authorizer: self.authorizer.clone(), user: Arc::new(user) }
    }
}

fn overload<T>() -> Result<T, cel::ExecutionError> {
    Err(failed("no such overload"))
}

fn read(value: &Value) -> Result<&Asked, cel::ExecutionError> {
    match value {
        Value::Opaque(own) => own.downcast_ref::<Asked>().map_or_else(overload, Ok),
        _ => overload(),
    }
}

/// The question about a resource with one more thing said.
fn told(value: &Value, tell: impl FnOnce(&mut Resource)) -> Answer {
    let Asked { asker, question: Question::Resource(resource) } = read(value)? else { return overload() };
    let mut resource = resource.clone();
    tell(&mut resource);
    Ok(asker.of_resource(resource))
}

/// Makes the functions known.
pub(super) fn add(context: &mut Context<'_, '_>) {
    declare!(context,
        "path" => |This(own): This<Value>, path: Arc<String>| -> Answer {
            if path.is_empty() {
                return Err(failed("path must not be empty"));
            }
            match read(&own)? {
                Asked { asker, question: Question::Nothing } => Ok(asker.asked(Question::Path(path.to_string()))),
                _ => overload(),
            }
        },
        "serviceAccount" => |This(own): This<Value>, namespace: Arc<String>, name: Arc<String>| -> Answer {
            match read(&own)? {
                Asked { asker, question: Question::Nothing } => Ok(asker.about_account(&namespace, &name).value()),
                _ => overload(),
            }
        },
        "group" => |This(own): This<Value>, group: Arc<String>| -> Answer {
            match read(&own)? {
                Asked { asker, question: Question::Nothing } => Ok(asker.asked(Question::Group(group.to_string()))),
                _ => overload(),
            }
        },
        "resource" => |This(own): This<Value>, resource: Arc<String>| -> Answer {
            let Asked { asker, question: Question::Group(group) } = read(&own)? else { return overload() };
            let resource =
                Resource { group: group.clone(), resource: resource.to_string(), ..Resource::default() };
            Ok(asker.of_resource(resource))
        },
        "subresource" => |This(own): This<Value>, part: Arc<String>| -> Answer {
            told(&own, |resource| resource.subresource = part.to_string())
        },
        "namespace" => |This(own): This<Value>, namespace: Arc<String>| -> Answer {
            told(&own, |resource| resource.namespace = namespace.to_string())
        },
        "name" => |This(own): This<Value>, name: Arc<String>| -> Answer {
            told(&own, |resource| resource.name = name.to_string())
        },
        // What the selectors say can only narrow what is asked for, and no role knows them.
        "fieldSelector" => |This(own): This<Value>, _selector: Arc<String>| -> Answer { told(&own, |_| {}) },
        "labelSelector" => |This(own): This<Value>, _selector: Arc<String>| -> Answer { told(&own, |_| {}) },
        "check" => |This(own): This<Value>, verb: Arc<String>| -> Answer {
            let Asked { asker, question } = read(&own)?;
            let nothing = Attributes::nothing(&asker.user);
            match question {
                Question::Path(path) => Ok(asker.decide(&Attributes { path, verb: &verb, ..nothing })),
                Question::Resource(resource) => Ok(asker.decide(&Attributes {
                    verb: &verb,
                    group: &resource.group,
                    version: "*",
                    resource: &resource.resource,
                    subresource: &resource.subresource,
                    namespace: &resource.namespace,
                    name: &resource.name,
                    ..nothing
                })),
                _ => overload(),
            }
        },
        "allowed" => |This(own): This<Value>| -> Answer {
            match &read(&own)?.question {
                Question::Answered { allowed, .. } => Ok(Value::Bool(*allowed)),
                _ => overload(),
            }
        },
        "reason" => |This(own): This<Value>| -> Answer {
            match &read(&own)?.question {
                Question::Answered { reason, .. } => Ok(Value::String(Arc::new(reason.clone()))),
                _ => overload(),
            }
        },
        // Everything is decided from memory: there is nothing that could fail.
        "errored" => |This(own): This<Value>| -> Answer {
            match &read(&own)?.question {
                Question::Answered { .. } => Ok(Value::Bool(false)),
                _ => overload(),
            }
        },
        "error" => |This(own): This<Value>| -> Answer {
            match &read(&own)?.question {
                Question::Answered { .. } => Ok(Value::String(Arc::default())),
                _ => overload(),
            }
        },
    );
}
