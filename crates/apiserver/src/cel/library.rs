//! The functions that Kubernetes adds to the language: lists, regular expressions, quantities, addresses, URLs.

use std::cmp::Ordering;
use std::sync::Arc;

use api::quantity::Quantity;
use cel::extractors::{Arguments, This};
use cel::objects::{Opaque, Value};
use cel::{Context, ExecutionError};

use super::{net, url};

pub(super) type Answer = Result<Value, ExecutionError>;

/// Names before a dot that are no variables.
const NAMESPACES: [&str; 9] =
    ["ip", "math", "lists", "strings", "base64", "optional", "cel", "sets", "jsonpatch"];

/// The names of types.
const TYPES: [&str; 12] = [
    "int",
    "uint",
    "double",
    "bool",
    "string",
    "bytes",
    "list",
    "map",
    "null_type",
    "type",
    "timestamp",
    "duration",
];

/// Whether a name is no variable though it stands where one could.
pub(super) fn is_namespace(name: &str) -> bool {
    NAMESPACES.contains(&name) || TYPES.contains(&name) || name.starts_with('@')
}

/// What the language itself has, and its extensions.
const STANDARD: [&str; 74] = [
    "size",
    "contains",
    "startsWith",
    "endsWith",
    "matches",
    "string",
    "int",
    "uint",
    "double",
    "bool",
    "bytes",
    "timestamp",
    "duration",
    "type",
    "dyn",
    "getFullYear",
    "getMonth",
    "getDayOfYear",
    "getDayOfMonth",
    "getDate",
    "getDayOfWeek",
    "getHours",
    "getMinutes",
    "getSeconds",
    "getMilliseconds",
    "charAt",
    "indexOf",
    "lastIndexOf",
    "lowerAscii",
    "upperAscii",
    "replace",
    "split",
    "substring",
    "trim",
    "join",
    "format",
    "reverse",
    "quote",
    "slice",
    "flatten",
    "distinct",
    "sort",
    "sortBy",
    "range",
    "greatest",
    "least",
    "ceil",
    "floor",
    "round",
    "trunc",
    "abs",
    "sign",
    "isNaN",
    "isInf",
    "isFinite",
    "sqrt",
    "bitOr",
    "bitAnd",
    "bitXor",
    "bitNot",
    "bitShiftLeft",
    "bitShiftRight",
    "optional.of",
    "optional.none",
    "optional.ofNonZeroValue",
    "hasValue",
    "orValue",
    "or",
    "value",
    "optMap",
    "optFlatMap",
    "of",
    "none",
    "ofNonZeroValue",
];

/// The names of what [`add`] adds.
const OWN: [&str; 74] = [
    "path",
    "serviceAccount",
    "group",
    "resource",
    "subresource",
    "namespace",
    "name",
    "fieldSelector",
    "labelSelector",
    "check",
    "allowed",
    "reason",
    "errored",
    "error",
    "jsonpatch.escapeKey",
    "sets.contains",
    "sets.equivalent",
    "sets.intersects",
    "escapeKey",
    "equivalent",
    "intersects",
    "base64.encode",
    "base64.decode",
    "isSorted",
    "sum",
    "min",
    "max",
    "find",
    "findAll",
    "quantity",
    "isQuantity",
    "isInteger",
    "asInteger",
    "asApproximateFloat",
    "add",
    "sub",
    "isGreaterThan",
    "isLessThan",
    "compareTo",
    "ip",
    "isIP",
    "isCanonical",
    "ip.isCanonical",
    "family",
    "isUnspecified",
    "isLoopback",
    "isLinkLocalMulticast",
    "isLinkLocalUnicast",
    "isGlobalUnicast",
    "cidr",
    "isCIDR",
    "containsIP",
    "containsCIDR",
    "masked",
    "prefixLength",
    "url",
    "isURL",
    "getScheme",
    "getHost",
    "getHostname",
    "getPort",
    "getEscapedPath",
    "getQuery",
    "strings.quote",
    "lists.range",
    "math.greatest",
    "math.least",
    "math.abs",
    "math.ceil",
    "math.floor",
    "math.round",
    "math.trunc",
    "math.sign",
    "math.isNaN",
];

/// Whether there is a function of that name.
pub(super) fn is_known(name: &str) -> bool {
    let is_operator = !name.starts_with(|c: char| c.is_ascii_alphabetic());
    is_operator || OWN.contains(&name) || STANDARD.contains(&name) || name.starts_with("math.")
}

/// A quantity as a value.
#[derive(Debug, PartialEq, Eq)]
struct Amount(Quantity);

impl Opaque for Amount {
    fn runtime_type_name(&self) -> &str {
        "kubernetes.Quantity"
    }
}

/// Makes the functions known.
pub(super) fn add(context: &mut Context<'_, '_>) {
    lists(context);
    texts(context);
    quantities(context);
    sets(context);
    net::add(context);
    url::add(context);
}

/// No name is taken: a test adds them all.
macro_rules! declare {
    ($context:expr, $($name:literal => $function:expr),+ $(,)?) => {
        $($context.add_function($name, $function).expect("no other function has that name");)+
    };
}
pub(super) use declare;

pub(super) fn failed(why: impl ToString) -> ExecutionError {
    ExecutionError::function_error("call", why)
}

fn overload() -> ExecutionError {
    failed("no such overload")
}

/// The order of two values of one kind.
fn order(left: &Value, right: &Value) -> Result<Ordering, ExecutionError> {
    left.partial_cmp(right).ok_or_else(overload)
}

fn items(value: &Value) -> Result<&[Value], ExecutionError> {
    match value {
        Value::List(items) => Ok(items),
        _ => Err(overload()),
    }
}

fn lists(context: &mut Context<'_, '_>) {
    declare!(context,
        "isSorted" => |This(own): This<Value>| -> Answer {
            let mut is_sorted = true;
            for pair in items(&own)?.windows(2) {
                is_sorted &= order(&pair[0], &pair[1])?.is_le();
            }
            Ok(Value::Bool(is_sorted))
        },
        "sum" => |This(own): This<Value>| -> Answer {
            let mut total = Value::Int(0);
            for (place, item) in items(&own)?.iter().enumerate() {
                total = match (place, total, item) {
                    (0, _, item) => item.clone(),
                    (_, Value::Int(left), Value::Int(right)) => {
                        Value::Int(left.checked_add(*right).ok_or_else(|| failed("integer overflow"))?)
                    }
                    (_, Value::UInt(left), Value::UInt(right)) => {
                        Value::UInt(left.checked_add(*right).ok_or_else(|| failed("integer overflow"))?)
                    }
                    (_, Value::Float(left), Value::Float(right)) => Value::Float(left + right),
                    _ => return Err(overload()),
                };
            }
            Ok(total)
        },
        "min" => |This(own): This<Value>| extreme("min", &own, Ordering::Less),
        "max" => |This(own): This<Value>| extreme("max", &own, Ordering::Greater),
    );
}

fn extreme(name: &str, list: &Value, wanted: Ordering) -> Answer {
    let mut all = items(list)?.iter();
    let mut found = all.next().ok_or_else(|| failed(format!("{name} called on empty list")))?;
    for item in all {
        if order(item, found)? == wanted {
            found = item;
        }
    }
    Ok(found.clone())
}

fn regex(pattern: &str) -> Result<regex::Regex, ExecutionError> {
    regex::Regex::new(pattern).map_err(|_| failed(format!("Illegal regex: {pattern}")))
}

fn text(own: &str) -> Value {
    Value::String(Arc::new(own.to_owned()))
}

fn texts(context: &mut Context<'_, '_>) {
    declare!(context,
        "find" => |This(own): This<Arc<String>>, pattern: Arc<String>| -> Answer {
            Ok(text(regex(&pattern)?.find(&own).map_or("", |found| found.as_str())))
        },
        "findAll" => |This(own): This<Arc<String>>, Arguments(more): Arguments| -> Answer {
            let (pattern, most) = match more.as_slice() {
                [Value::String(pattern)] => (pattern, usize::MAX),
                [Value::String(pattern), Value::Int(most)] => {
                    (pattern, usize::try_from(*most).unwrap_or(usize::MAX))
                }
                _ => return Err(overload()),
            };
            let pattern = regex(pattern)?;
            let found = pattern.find_iter(&own).take(most).map(|found| text(found.as_str()));
            Ok(Value::List(Arc::new(found.collect())))
        },
    );
}

fn sets(context: &mut Context<'_, '_>) {
    fn all_in(some: &[Value], all: &[Value]) -> bool {
        some.iter().all(|item| all.contains(item))
    }
    declare!(context,
        "sets.contains" => |all: Value, some: Value| -> Answer {
            Ok(Value::Bool(all_in(items(&some)?, items(&all)?)))
        },
        "sets.equivalent" => |one: Value, other: Value| -> Answer {
            let (one, other) = (items(&one)?, items(&other)?);
            Ok(Value::Bool(all_in(one, other) && all_in(other, one)))
        },
        "sets.intersects" => |one: Value, other: Value| -> Answer {
            let (one, other) = (items(&one)?, items(&other)?);
            Ok(Value::Bool(one.iter().any(|item| other.contains(item))))
        },
        "jsonpatch.escapeKey" => |key: Arc<String>| -> Answer {
            Ok(text(&key.replace('~', "~0").replace('/', "~1")))
        },
    );
}

fn amount(value: &Value) -> Result<Quantity, ExecutionError> {
    match value {
        Value::Opaque(own) => own.downcast_ref::<Amount>().map(|own| own.0).ok_or_else(overload),
        Value::Int(number) => Ok(Quantity::new(*number)),
        _ => Err(overload()),
    }
}

fn quantity(own: Quantity) -> Value {
    Value::Opaque(Arc::new(Amount(own)))
}

fn quantities(context: &mut Context<'_, '_>) {
    fn compare(left: &Value, right: &Value) -> Result<Ordering, ExecutionError> {
        Ok(amount(left)?.cmp(&amount(right)?))
    }
    fn is_integer(own: &Quantity) -> bool {
        own.checked_sub(&Quantity::new(own.value())).is_some_and(|rest| rest.is_zero())
    }
    declare!(context,
        "quantity" => |own: Arc<String>| -> Answer {
            Quantity::parse(&own).map(quantity).map_err(failed)
        },
        "isQuantity" => |own: Arc<String>| -> bool { Quantity::parse(&own).is_ok() },
        "isInteger" => |This(own): This<Value>| -> Answer { Ok(Value::Bool(is_integer(&amount(&own)?))) },
        "asInteger" => |This(own): This<Value>| -> Answer {
            let own = amount(&own)?;
            if is_integer(&own) {
                Ok(Value::Int(own.value()))
            } else {
                Err(failed("cannot convert value to integer"))
            }
        },
        "asApproximateFloat" => |This(own): This<Value>| -> Answer { Ok(Value::Float(amount(&own)?.to_f64())) },
        "sign" => |This(own): This<Value>| -> Answer { Ok(Value::Int(amount(&own)?.sign() as i64)) },
        "add" => |This(own): This<Value>, other: Value| -> Answer {
            amount(&own)?.checked_add(&amount(&other)?).map(quantity).ok_or_else(|| failed("quantity overflow"))
        },
        "sub" => |This(own): This<Value>, other: Value| -> Answer {
            amount(&own)?.checked_sub(&amount(&other)?).map(quantity).ok_or_else(|| failed("quantity overflow"))
        },
        "isGreaterThan" => |This(own): This<Value>, other: Value| -> Answer {
            Ok(Value::Bool(compare(&own, &other)?.is_gt()))
        },
        "isLessThan" => |This(own): This<Value>, other: Value| -> Answer {
            Ok(Value::Bool(compare(&own, &other)?.is_lt()))
        },
        "compareTo" => |This(own): This<Value>, other: Value| -> Answer {
            Ok(Value::Int(compare(&own, &other)? as i64))
        },
    );
}
