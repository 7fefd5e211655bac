//! `PATCH` of many: a list of actions, each of which makes, changes or deletes some entities, or says why it did not.

use axum::{Extension, Json, body::Bytes, extract::State, http::HeaderMap};
use orchestrator::commands::By;
use serde_json::{Map, Value, json};

use super::{
    body::Body,
    error::{ApiError, ApiResult},
};
use crate::App;

/// What can be changed in bulk.
pub(crate) trait Resource {
    /// What its entities are called.
    const PLURAL: &'static str;
    /// The field that tells them apart.
    const KEY: &'static str;

    async fn exists(app: &App, key: &str) -> ApiResult<bool>;
    async fn create(app: &App, by: &By, entity: Body) -> ApiResult<()>;
    async fn update(app: &App, by: &By, key: &str, entity: Body) -> ApiResult<()>;
    async fn delete(app: &App, by: &By, key: &str) -> ApiResult<()>;

    /// The fields that a new one must have, and those that it may.
    fn fields() -> (&'static [&'static str], &'static [&'static str]);
}

/// What is done with an entity that is there and should not be, or the other way round.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Otherwise {
    /// The whole action is refused.
    Fail,
    /// The entity is left out.
    Skip,
    /// What is there is changed.
    Overwrite,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Action {
    Create,
    Update,
    Delete,
}

impl Action {
    const ALL: [Self; 3] = [Self::Create, Self::Update, Self::Delete];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::Delete => "delete",
        }
    }
}

pub(crate) async fn patch<R: Resource>(
    State(app): State<App>,
    Extension(by): Extension<By>,
    headers: HeaderMap,
    body: Bytes,
) -> ApiResult {
    let body = Body::read(&headers, &body, &["actions"], &["actions"])?;
    let refuse = |value: &Value| {
        ApiError::invalid("list_type", json!(["body", "actions"]), "Input should be a valid list", value.clone())
    };
    let wanted = body.value("actions").unwrap_or(&Value::Null);
    let steps = wanted.as_array().ok_or_else(|| refuse(wanted))?;
    // All of it is read before anything is done.
    let steps = steps.iter().map(Step::read::<R>).collect::<ApiResult<Vec<_>>>()?;
    let mut told: Map<_, _> = Action::ALL.map(|action| (action.as_str().to_owned(), Value::Null)).into_iter().collect();
    for step in steps {
        let kind = step.action.as_str();
        let (mut success, mut errors) = (Vec::new(), Vec::new());
        match step.play::<R>(&app, &by, &mut success).await {
            Ok(()) => {}
            Err(error) => errors.push(error.told()),
        }
        told.insert(kind.to_owned(), json!({ "success": success, "errors": errors }));
    }
    app.wake.everybody();
    Ok(Json(Value::Object(told)))
}

struct Step {
    action: Action,
    /// Each with its key.
    entities: Vec<(String, Value)>,
    otherwise: Otherwise,
}

impl Step {
    fn read<R: Resource>(value: &Value) -> ApiResult<Self> {
        let invalid = |field: &str, text: &str| {
            ApiError::invalid("enum", json!(["body", "actions", field]), text, value[field].clone())
        };
        let action = Action::ALL.into_iter().find(|action| value["action"] == action.as_str());
        let action = action.ok_or_else(|| invalid("action", "Input should be 'create', 'update' or 'delete'"))?;
        let field = if action == Action::Create { "action_on_existence" } else { "action_on_non_existence" };
        let otherwise = match (value[field].as_str(), action) {
            (None | Some("fail"), _) => Otherwise::Fail,
            (Some("skip"), _) => Otherwise::Skip,
            (Some("overwrite"), Action::Create) => Otherwise::Overwrite,
            _ => return Err(invalid(field, "Input should be 'fail', 'skip' or, where something is made, 'overwrite'")),
        };
        let entities =
            value["entities"].as_array().ok_or_else(|| invalid("entities", "Input should be a valid list"))?;
        let key = |entity: &Value| {
            let key = entity.as_str().or_else(|| entity[R::KEY].as_str()).map(|key| (key.to_owned(), entity.clone()));
            key.ok_or_else(|| invalid("entities", &format!("each entity should have a {}", R::KEY)))
        };
        Ok(Self { action, entities: entities.iter().map(key).collect::<ApiResult<_>>()?, otherwise })
    }

    async fn play<R: Resource>(self, app: &App, by: &By, done: &mut Vec<String>) -> ApiResult<()> {
        let (mut there, mut gone) = (Vec::new(), Vec::new());
        for (key, entity) in self.entities {
            let list = if R::exists(app, &key).await? { &mut there } else { &mut gone };
            list.push((key, entity));
        }
        let names = |list: &[(String, Value)]| list.iter().map(|(key, _)| key.clone()).collect::<Vec<_>>().join(", ");
        let (plural, key) = (R::PLURAL, R::KEY);
        match self.action {
            Action::Create if self.otherwise == Otherwise::Fail && !there.is_empty() => {
                let text = format!("The {plural} with these {key}s: {} already exist.", names(&there));
                return Err(ApiError::new(axum::http::StatusCode::CONFLICT, text));
            }
            Action::Update | Action::Delete if self.otherwise == Otherwise::Fail && !gone.is_empty() => {
                let text = format!("The {plural} with these {key}s: {} were not found.", names(&gone));
                return Err(ApiError::not_found(text));
            }
            _ => {}
        }
        let (required, allowed) = R::fields();
        if self.action == Action::Create {
            for (key, entity) in gone {
                R::create(app, by, Body::of(entity, required, allowed)?).await?;
                done.push(key);
            }
        }
        if self.action != Action::Create || self.otherwise == Otherwise::Overwrite {
            for (key, entity) in there {
                match self.action {
                    Action::Delete => R::delete(app, by, &key).await?,
                    _ => R::update(app, by, &key, Body::of(entity, &[], allowed)?).await?,
                }
                done.push(key);
            }
        }
        Ok(())
    }
}
