//! Many at once.

use axum::http::Method;
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::world::World;

#[sqlx::test(migrations = "../migrations")]
async fn many_are_made_changed_and_deleted(pool: PgPool) {
    let world = World::new(pool).await;
    let patch = async |path: &str, actions: Value| {
        world.call(Method::PATCH, path, &json!({ "actions": actions }).to_string()).await
    };
    let entity = |name: &str, slots: i32| json!({ "name": name, "slots": slots });
    let create = |otherwise: &str| {
        json!([{
            "action": "create", "entities": [entity("a", 1), entity("b", 2)], "action_on_existence": otherwise,
        }])
    };
    let (status, told) = patch("/pools", create("fail")).await;
    assert_eq!(status, 200, "{told}");
    assert_eq!(told, json!({ "create": { "success": ["a", "b"], "errors": [] }, "update": null, "delete": null }));
    let (_, told) = patch("/pools", create("fail")).await;
    assert_eq!((&told["create"]["success"], &told["create"]["errors"][0]["status_code"]), (&json!([]), &json!(409)));
    assert_eq!(patch("/pools", create("skip")).await.1["create"]["success"], json!([]));
    let overwrite = json!([{ "action": "create", "entities": [entity("a", 9)], "action_on_existence": "overwrite" }]);
    assert_eq!(patch("/pools", overwrite).await.1["create"]["success"], json!(["a"]));
    assert_eq!(world.get("/pools/a").await.1["slots"], 9);

    let both = json!([
        { "action": "update", "entities": [entity("b", 7)] },
        { "action": "delete", "entities": ["a", "none"], "action_on_non_existence": "skip" },
    ]);
    let (_, told) = patch("/pools", both).await;
    assert_eq!((&told["update"]["success"], &told["delete"]["success"]), (&json!(["b"]), &json!(["a"])));
    assert_eq!(world.get("/pools/b").await.1["slots"], 7);
    let gone = json!([{ "action": "delete", "entities": ["b", "none"] }]);
    let (_, told) = patch("/pools", gone).await;
    assert_eq!(told["delete"]["errors"][0]["status_code"], 404);
    assert_eq!(world.get("/pools/b").await.0, 200, "an action is done whole, or not begun");

    let variables = json!([{ "action": "create", "entities": [{ "key": "x", "value": { "a": 1 } }] }]);
    assert_eq!(patch("/variables", variables).await.1["create"]["success"], json!(["x"]));
    assert_eq!(world.get("/variables/x").await.1["value"], "{\"a\":1}");
    let connections = json!([{ "action": "create", "entities": [{ "connection_id": "db", "conn_type": "postgres" }] }]);
    assert_eq!(patch("/connections", connections).await.1["create"]["success"], json!(["db"]));

    for wrong in [
        json!(1),
        json!([{ "action": "paint", "entities": [] }]),
        json!([{ "action": "create" }]),
        json!([{ "action": "create", "entities": [{ "slots": 1 }] }]),
        json!([{ "action": "delete", "entities": ["b"], "action_on_non_existence": "overwrite" }]),
    ] {
        assert_eq!(patch("/pools", wrong.clone()).await.0, 422, "{wrong}");
    }
    assert_eq!(world.get("/pools/b").await.0, 200);
}
