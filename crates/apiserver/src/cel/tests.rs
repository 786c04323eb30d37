//! Expressions at work.

use serde_json::json;

use super::value::of_json;
use super::*;

fn run(source: &str) -> Result<Value, RunError> {
    let object = json!({"n": 3, "list": [3, 1, 2], "names": ["b", "a"], "s": "abc-123", "map": {"k": "v"}});
    let variables = HashMap::from([("self", of_json(&object))]);
    let program =
        Program::compile(source, &["self", "oldSelf"]).unwrap_or_else(|error| panic!("{source}: {error}"));
    program.run(&variables, 10_000, &Budget::new(100_000))
}

#[test]
fn what_kubernetes_adds_is_there() {
    for source in [
        "self.n == 3 && self.s.startsWith('abc')",
        "!has(self.none) || self.none > 1",
        "self.list.all(x, x > 0) && self.list.exists(x, x == 2) && self.list.map(x, x * 2) == [6, 2, 4]",
        "self.list.filter(x, x > 1).size() == 2 && self.list.exists_one(x, x == 1)",
        "self.list.sum() == 6 && self.list.min() == 1 && self.list.max() == 3 && !self.list.isSorted()",
        "self.names == ['b', 'a'] && 'a' in self.names && self.map['k'] == 'v'",
        "self.s.find('[0-9]+') == '123' && self.s.findAll('[a-z]', 2) == ['a', 'b'] && self.s.matches('^abc')",
        "quantity('1.5Gi').isGreaterThan(quantity('1Gi')) && quantity('100m').compareTo(quantity('0.1')) == 0",
        "quantity('1').add(quantity('500m')) == quantity('1500m') && isQuantity('1k') && !isQuantity('x')",
        "quantity('2k').asInteger() == 2000 && quantity('1').sub(2).sign() == -1 && !quantity('1m').isInteger()",
        "isIP('::1') && ip('127.0.0.1').isLoopback() && ip('10.0.0.1').family() == 4 && !isIP('x')",
        "ip.isCanonical('::1') && !ip.isCanonical('0::1')",
        "cidr('10.0.0.0/8').containsIP('10.1.2.3') && !cidr('10.0.0.0/8').containsIP(ip('11.0.0.1'))",
        "cidr('10.0.0.0/8').containsCIDR('10.2.0.0/16') && cidr('10.1.0.0/8').masked() == cidr('10.0.0.0/8')",
        "cidr('10.0.0.0/8').prefixLength() == 8 && cidr('10.0.0.0/8').ip() == ip('10.0.0.0')",
        "url('https://a.b:80/c?d=e&d=f').getHost() == 'a.b:80' && url('https://a.b:80/c').getPort() == '80'",
        "url('https://[::1]:80/c?d=e').getHostname() == '::1' && url('https://a/c?d=e').getQuery()['d'] == ['e']",
        "isURL('https://a') && !isURL('a b') && url('/p/q').getEscapedPath() == '/p/q'",
        "'TacoCat'.lowerAscii() == 'tacocat' && 'a,b'.split(',') == ['a', 'b'] && ' x '.trim() == 'x'",
        "duration('1h') > duration('59m') && timestamp('2026-01-01T00:00:00Z').getFullYear() == 2026",
        "type(self.n) == int && dyn(self.n) == 3 && self.?none.orValue(7) == 7",
        "sets.contains([1, 2], [2]) && sets.equivalent([1, 1], [1]) && !sets.intersects([1], [2])",
        "cel.bind(x, self.n + 1, x * x == 16 && cel.bind(y, x, y == 4)) && cel.bind(l, self.list, l.map(i, l[0] + i)[0] == 6)",
        "jsonpatch.escapeKey('a/b~c') == 'a~1b~0c'",
        "self.s.indexOf('-') == 3 && self.list.sort() == [1, 2, 3]",
    ] {
        assert_eq!(run(source), Ok(Value::Bool(true)), "{source}");
    }
}

#[test]
fn what_does_not_compile_is_told() {
    for (source, told) in [
        ("self.a ==", "Syntax error"),
        ("other.a == 1", "undeclared reference to 'other'"),
        ("self.nothing(1)", "undeclared reference to 'nothing'"),
    ] {
        let error = Program::compile(source, &["self"]).expect_err(source);
        assert!(error.0.contains(told), "{source}: {error}");
    }
}

#[test]
fn what_fails_is_told() {
    for (source, told) in [
        ("self.none == 1", "no such key: none"),
        ("self.n / 0 == 1", "division by zero"),
        ("self.list[9] == 1", "index out of bounds: 9"),
        ("[].max() == 1", "max called on empty list"),
    ] {
        assert_eq!(run(source), Err(RunError::Failed(told.to_owned())), "{source}");
    }
}

#[test]
fn what_costs_too_much_is_stopped() {
    let many: Vec<i64> = (0..1000).collect();
    let variables = HashMap::from([("self", of_json(&json!(many)))]);
    for source in [
        "self.all(x, self.all(y, self.all(z, x + y + z >= 0)))",
        "self.map(x, self.map(y, x * y)).size() > 0",
        "self.exists(x, self.exists(y, x + y < 0)) || true",
    ] {
        let program = Program::compile(source, &["self"]).expect("it compiles");
        assert_eq!(program.run(&variables, 5_000, &Budget::new(1_000_000)), Err(RunError::Cost), "{source}");
        assert_eq!(program.run(&variables, 1_000_000, &Budget::new(5_000)), Err(RunError::Cost), "{source}");
    }
}

#[test]
fn what_is_constructed_is_a_map_and_must_stand_in_its_place() {
    let run = |source: &str| {
        let program =
            Program::compile_mutation(source, &[]).unwrap_or_else(|error| panic!("{source}: {error}"));
        (program.run(&HashMap::new(), 10_000, &Budget::new(100_000)), program.mismatch().map(str::to_owned))
    };
    let (value, mismatch) = run("Object{spec: Object.spec{a: 1, __namespace__: 'n', ?b: optional.none()}}");
    assert_eq!(value.expect("a value").json().expect("JSON"), json!({"spec": {"a": 1, "namespace": "n"}}));
    assert_eq!(mismatch, None);
    for source in [
        "Object{spec: Object.status{}}",
        "Object{spec: Object.spec{list: [Object.spec.other{}]}}",
        "Object{list: [1].map(x, Object.other{})}",
        "true ? Object{a: Object.b{}} : Object{}",
    ] {
        assert!(run(source).1.is_some_and(|why| why.starts_with("unexpected type name")), "{source}");
    }
    for source in ["Thing{}", "Objects{}", "[Object{a: Other{}}]"] {
        let error = Program::compile_mutation(source, &[]).expect_err(source);
        assert!(error.0.contains("undeclared reference"), "{error}");
    }
    assert!(Program::compile("Object{}", &[]).is_err(), "only mutations construct");
}

#[test]
fn the_type_of_a_value_is_known_where_the_expression_says_it() {
    for (source, output) in [
        ("1 + 1", Output::Int),
        ("'a' + self.b", Output::String),
        ("self.a", Output::Dyn),
        ("self.a == 1 || has(self.b)", Output::Bool),
        ("self.a ? 'b' : 'c'", Output::String),
        ("self.a ? 'b' : self.c", Output::Unknown),
        ("[1]", Output::List),
        ("null", Output::Null),
        ("self.all(x, x > 1)", Output::Unknown),
    ] {
        assert_eq!(Program::compile(source, &["self"]).expect(source).output(), output, "{source}");
    }
}
