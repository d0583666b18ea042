//! What the four services are: their tools, their data, and what goes wrong with them.
//!
//! Availability and times follow the scenario (customer database 99.8 % and 0.15 s, CRM 87 % and 2.3 s, billing 95 %
//! and 0.45 s, analytics 1.2 s), with all times divided by fifty, so that an hour of traffic passes in a minute.
//! What the scenario does not say is how the failures are made; that is stated here, as patterns.

use rmcp::model::{JsonObject, Tool, ToolAnnotations};
use rusqlite::{Connection, OptionalExtension, named_params};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::fmt;
use std::sync::Arc;

/// How a service is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    /// As a child process of its client.
    Stdio,
    /// Over streamable HTTP.
    Http,
}

/// One service with its tool, and perhaps one that does the same for many at once.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) name: &'static str,
    pub(crate) transport: Transport,
    pub(crate) tool: &'static str,
    pub(crate) bulk: Option<Bulk>,
    /// What goes wrong, unless the command line says otherwise.
    pub(crate) pattern: &'static str,
    description: &'static str,
    reads: bool,
    arguments: fn() -> Arc<JsonObject>,
    pub(super) tables: &'static str,
    pub(super) execute: fn(&Connection, JsonObject) -> Result<Value, Refusal>,
}

/// A tool that does for a list what the service's own tool does for one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bulk {
    pub(crate) tool: &'static str,
    /// The argument that holds the list.
    pub(crate) items: &'static str,
    /// Where in the answer the results stand.
    pub(crate) results: &'static str,
}

/// The services, in the order in which a customer passes them.
pub(crate) static ALL: [Service; 4] = [
    Service {
        name: "customer_database",
        transport: Transport::Stdio,
        tool: "get_customer",
        bulk: None,
        pattern: "takes 3ms, 95% within 8ms; 0.2% of calls fail",
        description: "Returns the customer with this id.",
        reads: true,
        arguments: schema::<CustomerId>,
        tables: "CREATE TABLE IF NOT EXISTS customers(
                     id TEXT PRIMARY KEY, name TEXT NOT NULL, email TEXT NOT NULL, plan TEXT NOT NULL
                 ) STRICT, WITHOUT ROWID;
                 INSERT OR IGNORE INTO customers
                     WITH RECURSIVE number(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < 10000)
                     SELECT printf('C-%05d', n), 'Customer ' || n, 'customer' || n || '@example.com',
                            CASE n % 3 WHEN 0 THEN 'free' WHEN 1 THEN 'team' ELSE 'enterprise' END
                     FROM number;",
        execute: get_customer,
    },
    Service {
        name: "salesforce_crm",
        transport: Transport::Http,
        tool: "update_contact",
        bulk: None,
        // One outage, long enough to open the circuit.
        pattern: "takes 46ms, 95% within 90ms; calls in 800ms of every 6s fail; 3% of calls hang; first attempt of 4% of keys fails; \
                  3% of calls fail",
        description: "Sets the name and the address of the contact with this id.",
        reads: false,
        arguments: schema::<Customer>,
        tables: "CREATE TABLE IF NOT EXISTS contacts(
                     id TEXT PRIMARY KEY, name TEXT NOT NULL, email TEXT NOT NULL
                 ) STRICT, WITHOUT ROWID;",
        execute: |connection, arguments| {
            set(connection, arguments, "INSERT OR REPLACE INTO contacts VALUES (:id, :name, :email)", |customer| {
                vec![(":id", &customer.id), (":name", &customer.name), (":email", &customer.email)]
            })
        },
    },
    Service {
        name: "billing_system",
        transport: Transport::Http,
        tool: "sync_customer",
        bulk: None,
        // Three short outages: shorter than what opens a circuit, longer than a retry at once.
        pattern: "takes 9ms, 95% within 20ms; calls 150 to 153 fail; calls 350 to 353 fail; calls 700 to 703 fail; \
                  0.5% of calls hang; 4% of calls fail",
        description: "Bills the customer with this id for this plan from now on.",
        reads: false,
        arguments: schema::<Customer>,
        tables: "CREATE TABLE IF NOT EXISTS accounts(id TEXT PRIMARY KEY, plan TEXT NOT NULL) STRICT, WITHOUT ROWID;",
        execute: |connection, arguments| {
            set(connection, arguments, "INSERT OR REPLACE INTO accounts VALUES (:id, :plan)", |customer| {
                vec![(":id", &customer.id), (":plan", &customer.plan)]
            })
        },
    },
    Service {
        name: "analytics_warehouse",
        transport: Transport::Stdio,
        tool: "upsert_customer",
        bulk: Some(Bulk { tool: "upsert_customers", items: "customers", results: "results" }),
        pattern: "takes 24ms, 95% within 70ms; 1.5% of calls hang; 1% of calls fail",
        description: "Adds the customer to the warehouse, or replaces what it knew of this id.",
        reads: false,
        arguments: schema::<Customer>,
        tables: "CREATE TABLE IF NOT EXISTS customers(
                     id TEXT PRIMARY KEY, plan TEXT NOT NULL, email TEXT NOT NULL
                 ) STRICT, WITHOUT ROWID;",
        execute: |connection, arguments| {
            set(connection, arguments, "INSERT OR REPLACE INTO customers VALUES (:id, :plan, :email)", |customer| {
                vec![(":id", &customer.id), (":plan", &customer.plan), (":email", &customer.email)]
            })
        },
    },
];

/// The service of that name.
pub(crate) fn named(name: &str) -> Option<&'static Service> {
    ALL.iter().find(|service| service.name == name)
}

impl Service {
    /// The tool as it is listed. The hints are true: every write sets fields to given values, so that doing it again
    /// changes nothing more.
    pub(crate) fn tools(&self) -> Vec<Tool> {
        let hints = ToolAnnotations::new().read_only(self.reads).idempotent(true).destructive(false).open_world(false);
        let one = Tool::new(self.tool, self.description, (self.arguments)()).annotate(hints.clone());
        let many = self.bulk.map(|bulk| {
            let description = format!("Does what {} does for every one of a list.", self.tool);
            Tool::new(bulk.tool, description, schema::<Customers>()).annotate(hints)
        });
        std::iter::once(one).chain(many).collect()
    }

    /// What a call of one of its tools answers, from what was done for each record.
    pub(super) fn answer(&self, tool: &str, mut values: Vec<Value>) -> Value {
        match self.bulk.filter(|bulk| bulk.tool == tool) {
            Some(bulk) => json!({ bulk.results: values }),
            None => values.pop().unwrap_or_default(),
        }
    }

    /// The records a call of one of its tools is about; `None` for a tool it does not have.
    pub(super) fn records(&self, tool: &str, mut arguments: JsonObject) -> Option<Result<Vec<JsonObject>, Refusal>> {
        if tool == self.tool {
            return Some(Ok(vec![arguments]));
        }
        let bulk = self.bulk.filter(|bulk| bulk.tool == tool)?;
        let list = arguments.remove(bulk.items).unwrap_or_default();
        Some(serde_json::from_value(list).map_err(Refusal::Arguments))
    }
}

/// What the customer database knows of a customer, and what the others are told.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
struct Customer {
    id: String,
    name: String,
    email: String,
    plan: String,
}

/// The arguments of a bulk tool.
#[derive(Debug, Deserialize, JsonSchema)]
#[expect(dead_code, reason = "only its schema is used")]
struct Customers {
    customers: Vec<Customer>,
}

#[derive(Debug, Deserialize, JsonSchema)]
struct CustomerId {
    id: String,
}

/// Why a tool did not do what it was asked; asking again would not help.
#[derive(Debug)]
pub(crate) enum Refusal {
    Arguments(serde_json::Error),
    Unknown(String),
    Data(rusqlite::Error),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Arguments(error) => write!(f, "400 Bad Request: {error}"),
            Self::Unknown(id) => write!(f, "404 Not Found: no customer `{id}`"),
            Self::Data(error) => write!(f, "500 Internal Server Error: {error}"),
        }
    }
}

impl From<rusqlite::Error> for Refusal {
    fn from(error: rusqlite::Error) -> Self {
        Self::Data(error)
    }
}

fn get_customer(connection: &Connection, arguments: JsonObject) -> Result<Value, Refusal> {
    let CustomerId { id } = serde_json::from_value(Value::Object(arguments)).map_err(Refusal::Arguments)?;
    let customer = connection
        .prepare_cached("SELECT id, name, email, plan FROM customers WHERE id = :id")?
        .query_row(named_params! { ":id": id }, |row| {
            Ok(Customer { id: row.get(0)?, name: row.get(1)?, email: row.get(2)?, plan: row.get(3)? })
        })
        .optional()?;
    customer.map(|customer| json!(customer)).ok_or(Refusal::Unknown(id))
}

fn set(
    connection: &Connection,
    arguments: JsonObject,
    statement: &str,
    fields: fn(&Customer) -> Vec<(&'static str, &String)>,
) -> Result<Value, Refusal> {
    let customer: Customer = serde_json::from_value(Value::Object(arguments)).map_err(Refusal::Arguments)?;
    let fields = fields(&customer);
    let fields: Vec<(&str, &dyn rusqlite::ToSql)> =
        fields.iter().map(|(name, value)| (*name, *value as &dyn rusqlite::ToSql)).collect();
    connection.prepare_cached(statement)?.execute(fields.as_slice())?;
    Ok(json!({ "id": customer.id, "done": true }))
}

fn schema<T: JsonSchema + 'static>() -> Arc<JsonObject> {
    rmcp::handler::server::common::schema_for_type::<T>()
}
