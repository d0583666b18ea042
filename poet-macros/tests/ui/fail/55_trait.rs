use poet::poet;

#[poet]
trait Service {
    fn fetch();
}

fn main() {}
