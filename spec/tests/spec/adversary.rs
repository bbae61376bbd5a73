use std::time::Instant;
use proofmark_spec::{Source, parse};
#[test]
#[allow(clippy::disallowed_methods)]
fn times() {
    let n = 1 << 20;
    let keys: String = (0..).map(|i| format!("a{i}:\n")).scan(0, |l, s: String| { *l += s.len(); (*l < n).then_some(s) }).collect();
    let docs: String = "a:\n---\n".repeat(n / 7);
    let flow = format!("[{}]", "a,".repeat(n / 2 - 2));
    let quotes = "\"".repeat(n);
    let anchors = format!("{}x", "&a ".repeat(n/3-1));
    let long = format!("a: {}", "x".repeat(n-3));
    let dashes = "- ".repeat(n/2);
    let comments = "#\n".repeat(n/2);
    let unclosed = "a: [b\n---\n".repeat(n/10);
    let open = "{a: ".repeat(n/4);
    let checks: String = (0..1000).map(|i| format!("apiVersion: proofmark/v1\nkind: Check\nmetadata: {{name: c{i}}}\nspec:\n  interval: 1s\n  probe:\n    http:\n      url: http://localhost/\n      fail_if_body_matches_regexp: ['\\w{{20}}']\n---\n")).collect();
    let unknown: String = (0..1000).map(|i| format!("apiVersion: proofmark/v1\nkind: Check\nmetadata: {{name: c{i}}}\nspec:\n  interval: 1s\n  {}\n---\n", (0..60).map(|k| format!("k{k}abcdefg: 1\n  ")).collect::<String>())).collect();
    for (name, text) in [("keys", keys), ("docs", docs), ("flow", flow), ("quotes", quotes), ("anchors", anchors), ("long", long), ("dashes", dashes), ("comments", comments), ("unclosed", unclosed), ("open", open), ("checks", checks), ("unknown", unknown)] {
        let t = Instant::now();
        let r = parse(&[Source { file: "f", text: &text }]);
        println!("{name} {} bytes {:?} {}", text.len(), t.elapsed(), match r { Ok(d) => format!("ok {}", d.len()), Err(f) => format!("{} faults: {}", f.len(), f.iter().next().unwrap()) });
    }
}
