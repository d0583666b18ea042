#![deny(warnings)]

#[poet::poet]
async fn fetch() {}

fn main() {
    drop(fetch());
}
