use poet::poet;

struct Order {
    urgency: poet::Priority,
}

#[poet(priority = urgency)]
async fn fetch(Order { urgency }: Order) -> Result<u8, poet::Error> {
    Ok(urgency as u8)
}

fn main() {}
