//! `PATCH` of many: a list of actions, each of which makes, changes or deletes some entities, or says why it did not.

use std::fmt::Display;

use axum::{
    Extension, Json,
    body::Bytes,
    extract::{FromRequestParts, State},
    http::HeaderMap,
};
use orchestrator::commands::By;
use serde_json::{Map, Value, json};

use super::{
    body::{Body, Mask},
    error::{ApiError, ApiResult},
};
use crate::App;

/// What can be changed in bulk.
pub(crate) trait Resource {
    /// What the path says of all of them.
    type Scope: FromRequestParts<App>;
    /// What tells them apart.
    type Key: Clone + Display;
    /// What its entities are called.
    const PLURAL: &'static str;
    /// What their key is called.
    const KEY: &'static str;
    /// The fields that an `update_mask` need not name.
    const ALWAYS: &'static [&'static str];

    /// The key of an entity, or of a text that stands for one.
    fn key(scope: &Self::Scope, entity: &Value) -> ApiResult<Self::Key>;
    /// Those that are there: none, one, or all that the key may mean.
    async fn find(app: &App, key: &Self::Key) -> ApiResult<Vec<Self::Key>>;
    async fn create(app: &App, by: &By, entity: Body) -> ApiResult<()>;
    async fn update(app: &App, by: &By, key: &Self::Key, entity: Body) -> ApiResult<()>;
    async fn delete(app: &App, by: &By, key: &Self::Key) -> ApiResult<()>;

    /// The fields that a new one must have, and those that it may.
    fn fields() -> (&'static [&'static str], &'static [&'static str]);
}

/// The key of something that has a name.
pub(crate) fn name(entity: &Value, field: &str) -> ApiResult<String> {
    let name = entity.as_str().or_else(|| entity[field].as_str()).map(ToOwned::to_owned);
    name.ok_or_else(|| unfit("entities", &format!("each entity should have a {field}"), entity))
}

/// Something of an action that cannot be meant.
pub(crate) fn unfit(field: &str, text: &str, input: &Value) -> ApiError {
    ApiError::invalid("value_error", json!(["body", "actions", field]), text, input.clone())
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
    scope: R::Scope,
    headers: HeaderMap,
    body: Bytes,
) -> ApiResult {
    let body = Body::read(&headers, &body, &["actions"], &["actions"])?;
    let steps = body.list("actions")?;
    if body.value("actions").is_none() {
        return Err(unfit("", "Input should be a valid list", &Value::Null));
    }
    // What is written wrong is refused before anything is done.
    let steps = steps.iter().map(|step| Step::<R>::read(&scope, step)).collect::<ApiResult<Vec<_>>>()?;
    let mut told: Map<_, _> = Action::ALL.map(|action| (action.as_str().to_owned(), Value::Null)).into_iter().collect();
    for step in steps {
        let kind = step.action.as_str();
        let (mut success, mut errors) = (Vec::new(), Vec::new());
        match step.play(&app, &by, &mut success).await {
            Ok(()) => {}
            Err(error) => errors.push(error.told()),
        }
        // There may be several actions of a kind.
        match told.get_mut(kind).filter(|told| !told.is_null()) {
            None => drop(told.insert(kind.to_owned(), json!({ "success": success, "errors": errors }))),
            Some(told) => {
                append(&mut told["success"], success.into_iter().map(Value::from).collect());
                append(&mut told["errors"], errors);
            }
        }
    }
    app.wake.everybody();
    Ok(Json(Value::Object(told)))
}

struct Step<R: Resource> {
    action: Action,
    /// Each with its key; of one that is deleted, the key is all.
    entities: Vec<(R::Key, Body)>,
    otherwise: Otherwise,
}

impl<R: Resource> Step<R> {
    fn read(scope: &R::Scope, value: &Value) -> ApiResult<Self> {
        let invalid = |field: &str, text: &str| unfit(field, text, &value[field]);
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
        let names = value["update_mask"].as_array().into_iter().flatten();
        let mask = Mask(names.filter_map(|name| name.as_str().map(ToOwned::to_owned)).collect());
        let (required, allowed) = R::fields();
        let with_key = |entity: &Value| {
            let body = match action {
                Action::Create => Body::of(entity.clone(), required, allowed)?,
                Action::Update => Body::of(entity.clone(), &[], allowed)?.masked(&mask, R::ALWAYS),
                Action::Delete => Body::default(),
            };
            Ok((R::key(scope, entity)?, body))
        };
        Ok(Self { action, entities: entities.iter().map(with_key).collect::<ApiResult<_>>()?, otherwise })
    }

    async fn play(self, app: &App, by: &By, done: &mut Vec<String>) -> ApiResult<()> {
        let (mut there, mut gone) = (Vec::new(), Vec::new());
        for (key, entity) in self.entities {
            let found = R::find(app, &key).await?;
            if found.is_empty() {
                gone.push((key, entity));
            } else {
                there.extend(found.into_iter().map(|key| (key, entity.clone())));
            }
        }
        let names =
            |list: &[(R::Key, Body)]| list.iter().map(|(key, _)| key.to_string()).collect::<Vec<_>>().join(", ");
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
        if self.action == Action::Create {
            for (key, entity) in gone {
                R::create(app, by, entity).await?;
                done.push(key.to_string());
            }
        }
        if self.action != Action::Create || self.otherwise == Otherwise::Overwrite {
            for (key, entity) in there {
                match self.action {
                    Action::Delete => R::delete(app, by, &key).await?,
                    _ => R::update(app, by, &key, entity).await?,
                }
                done.push(key.to_string());
            }
        }
        Ok(())
    }
}

fn append(list: &mut Value, more: Vec<Value>) {
    if let Some(list) = list.as_array_mut() {
        list.extend(more);
    }
}
