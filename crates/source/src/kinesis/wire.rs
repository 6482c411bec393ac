//! `GetRecords` in CBOR, between the SDK's signing and HTTP and our own decoder: data comes as bytes
//! instead of base64, and the SDK makes no record of its own. An answer is kept as it came.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex};

use super::cbor;
use crate::reading::lock;
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::context::BeforeSerializationInterceptorContextRef;
use aws_smithy_runtime_api::client::interceptors::{Intercept, dyn_dispatch_hint};
use aws_smithy_runtime_api::http::{Request, Response};
use aws_smithy_schema::document::DocumentShapeDeserializer;
use aws_smithy_schema::protocol::{ClientProtocolInner, apply_http_endpoint};
use aws_smithy_schema::serde::{SerdeError, SerializableStruct, ShapeDeserializer};
use aws_smithy_schema::{Schema, ShapeId, shape_id};
use aws_smithy_types::Document;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::config_bag::{ConfigBag, Storable, StoreReplace};
use aws_smithy_types::endpoint::Endpoint;
use aws_smithy_types::error::metadata::{Builder as ErrorBuilder, ErrorMetadata};

const CONTENT_TYPE: &str = "application/x-amz-cbor-1.1";
const TARGET: &str = "Kinesis_20131202.GetRecords";

/// What the SDK makes of every answer: one without members.
static NOTHING: LazyLock<Document> = LazyLock::new(|| Document::Object(HashMap::new()));

/// The protocol of a client that calls nothing but `GetRecords`, each call with an [`Exchange`].
#[derive(Debug)]
pub(super) struct Cbor;

/// One call: what it sends, and where its answer is left.
#[derive(Clone, Debug)]
pub(super) struct Exchange(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    request: Vec<u8>,
    answer: Mutex<Option<SdkBody>>,
}

impl Storable for Exchange {
    type Storer = StoreReplace<Self>;
}

impl Exchange {
    /// A call for up to `limit` records.
    pub(super) fn new(iterator: &str, limit: i32, arn: Option<&str>) -> Self {
        Self(Arc::new(Inner {
            request: cbor::request(iterator, limit, arn),
            answer: Mutex::new(None),
        }))
    }

    /// The body of the answer, once it came.
    pub(super) fn answer(&self) -> Option<SdkBody> {
        lock(&self.0.answer).take()
    }
}

#[dyn_dispatch_hint]
impl Intercept for Exchange {
    fn name(&self) -> &'static str {
        "hydrant-cbor-exchange"
    }

    fn read_before_execution(
        &self,
        _: &BeforeSerializationInterceptorContextRef<'_>,
        cfg: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        cfg.interceptor_state().store_put(self.clone());
        Ok(())
    }
}

fn exchange(cfg: &ConfigBag) -> Result<&Exchange, SerdeError> {
    let exchange = cfg.load::<Exchange>();
    exchange.ok_or_else(|| SerdeError::custom("a call without an exchange"))
}

impl ClientProtocolInner for Cbor {
    type Request = Request;
    type Response = Response;

    fn protocol_id(&self) -> &ShapeId<'static> {
        static ID: ShapeId<'static> = shape_id!("hydrant.protocols", "kinesisCbor1_1");
        &ID
    }

    fn serialize_request(
        &self,
        _: &dyn SerializableStruct,
        _: &Schema<'_>,
        _: &str,
        cfg: &ConfigBag,
    ) -> Result<Request, SerdeError> {
        let body = exchange(cfg)?.0.request.clone();
        let mut request = Request::new(SdkBody::empty());
        let invalid = |error: &dyn std::fmt::Display| SerdeError::custom(error.to_string());
        request
            .set_method("POST")
            .map_err(|error| invalid(&error))?;
        request.set_uri("/").map_err(|error| invalid(&error))?;
        let headers = request.headers_mut();
        headers.insert("content-type", CONTENT_TYPE);
        headers.insert("content-length", body.len().to_string());
        headers.insert("x-amz-target", TARGET);
        *request.body_mut() = body.into();
        Ok(request)
    }

    fn deserialize_response<'a>(
        &self,
        response: &'a Response,
        _: &Schema<'_>,
        cfg: &'a ConfigBag,
    ) -> Result<Box<dyn ShapeDeserializer + 'a>, SerdeError> {
        let given = response.headers().get("content-type").unwrap_or_default();
        if response.status().is_success() {
            if !given.trim().eq_ignore_ascii_case(CONTENT_TYPE) {
                return Err(SerdeError::custom(format!(
                    "the answer is `{given}`, not {CONTENT_TYPE}"
                )));
            }
            *lock(&exchange(cfg)?.0.answer) = response.body().try_clone();
        }
        Ok(Box::new(DocumentShapeDeserializer::new(&NOTHING)))
    }

    fn parse_error_metadata(
        &self,
        response: &Response,
        _: &ConfigBag,
    ) -> Result<ErrorBuilder, SerdeError> {
        let body = response.body().bytes().unwrap_or_default();
        let (kind, message) = cbor::error(body);
        let header = response.headers().get("x-amzn-errortype");
        let kind = kind.or_else(|| header.map(str::to_owned));
        let mut builder = ErrorMetadata::builder();
        if let Some(kind) = kind {
            // `com.amazonaws.kinesis#Name:http://...`
            let name = kind.rsplit('#').next().unwrap_or_default();
            builder = builder.code(name.split(':').next().unwrap_or_default());
        }
        if let Some(message) = message {
            builder = builder.message(message);
        }
        Ok(builder)
    }

    fn update_endpoint(
        &self,
        request: &mut Request,
        endpoint: &Endpoint,
        cfg: &ConfigBag,
    ) -> Result<(), SerdeError> {
        apply_http_endpoint(request, endpoint, cfg)
    }
}
