//! Traffic: model server, gateway and app, all in this process and all over real sockets.
//!
//! In: the place for the gateway's data. Out: what the app sent and got, and what the model server
//! says it received. The gateway has stopped by then, whatever happened.

use std::net::{Ipv4Addr, SocketAddr};

use sha2::{Digest as _, Sha256};
use tokio::sync::watch;

use super::app::{self, Call};
use super::client::Answered;
use super::error::{DemoError, expect};
use super::model::{Model, PAUSE, Received};
use super::place::Place;
use super::story::Story;
use crate::config::{Config, Journal, UpstreamConfig};
use crate::gateway::Gateway;
use crate::route::Table;

/// One call, seen from both ends.
pub(super) struct Passed {
    /// What the app sent.
    pub(super) call: Call,
    /// What the app got.
    pub(super) answered: Answered,
    /// What the model server received.
    pub(super) received: Received,
}

/// Lets the calls pass.
pub(super) async fn pass(
    place: &Place,
    story: &mut Story<'_, '_>,
) -> Result<Vec<Passed>, DemoError> {
    story.step("a model server and the gateway, on this machine")?;
    let model = Model::start().await.map_err(DemoError::system("start the model server"))?;
    let listed = app::models(model.address).await?;
    let said = String::from_utf8_lossy(&listed.body).into_owned();
    let named = listed.status == 200 && said.contains(super::answers::MODEL);
    expect(named, "the model server names its model", || said)?;
    story
        .fact("model server", &format!("http://{}  ({})", model.address, super::answers::MODEL))?;

    let config = config(place, model.address)?;
    let table = Table::new(&config)?;
    let gateway = Gateway::open(&config, table, false, Box::new(|_| {})).await?;
    let address = gateway.report().address;
    story.fact("gateway", &format!("http://{address}/{} leads there", app::UPSTREAM))?;

    let (stop, stopped) = watch::channel(false);
    let serving = tokio::spawn(gateway.serve(stopped));
    let called = call(address, story).await;
    // Also where a call failed: what was captured is sealed, and can be looked at.
    let _ = stop.send(true);
    let served = serving.await.map_err(|error| DemoError::System {
        action: "stop the gateway",
        source: std::io::Error::other(error),
    })?;
    let called = called?;
    served?;
    story.good("the gateway sealed what was pending and stopped")?;
    together(called, model.received())
}

fn config(place: &Place, model: SocketAddr) -> Result<Config, DemoError> {
    let upstream = UpstreamConfig::new(format!("http://{model}").parse()?);
    let data = place.data().root().to_owned();
    Ok(Config {
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        // Inside, against the rule: throw-away data must leave nothing elsewhere.
        lock: Some(data.join("lock")),
        data,
        upstreams: [(app::UPSTREAM.to_owned(), upstream)].into(),
        journal: Journal { file_size: 1 << 20, ..Journal::default() },
        ..Config::default()
    })
}

async fn call(
    gateway: SocketAddr,
    story: &mut Story<'_, '_>,
) -> Result<Vec<(Call, Answered)>, DemoError> {
    story.step("an app makes three calls through it, under the run name `demo`")?;
    let mut called = Vec::new();
    for call in app::calls() {
        let answered = app::chat(gateway, &call).await?;
        let told = format!("status 200 for {}", call.what);
        expect(answered.status == 200, told, || answered.status.to_string())?;
        story.good(&format!("{}: {}", call.what, summary(&call, &answered)))?;
        called.push((call, answered));
    }
    let [_, tool, stream] = called.as_slice() else {
        return Ok(called);
    };
    let asked = String::from_utf8_lossy(&tool.1.body);
    expect(asked.contains("find_order"), "the model asks for the tool", || asked.to_string())?;
    let events = String::from_utf8_lossy(&stream.1.body);
    let ended = events.starts_with("data: {") && events.ends_with("data: [DONE]\n\n");
    expect(ended, "the stream comes to its end", || events.to_string())?;
    let (first, whole) = (stream.1.first, stream.1.whole);
    // The model takes a pause after each word: a gateway that waited for the end would show here.
    expect(whole.saturating_sub(first) > 2 * PAUSE, "the stream passes as it comes", || {
        format!("its first byte after {first:?} of {whole:?}")
    })?;
    Ok(called)
}

fn summary(call: &Call, answered: &Answered) -> String {
    let (sent, got) = (call.body.len(), answered.body.len());
    let (first, whole) = (answered.first.as_millis(), answered.whole.as_millis());
    match answered.body.starts_with(b"data:") {
        true => format!("{sent} bytes out, {got} back, the first after {first} ms of {whole} ms"),
        false => format!("{sent} bytes out, {got} back in {whole} ms"),
    }
}

/// Puts both ends together, and wants them to agree before the record is asked.
fn together(
    called: Vec<(Call, Answered)>,
    received: Vec<Received>,
) -> Result<Vec<Passed>, DemoError> {
    let posted: Vec<_> = received.into_iter().filter(|it| it.line.starts_with("POST ")).collect();
    expect(posted.len() == called.len(), "the model server received each call once", || {
        format!("{} of {}", posted.len(), called.len())
    })?;
    let mut passed = Vec::new();
    for ((call, answered), received) in called.into_iter().zip(posted) {
        let sent: [u8; 32] = Sha256::digest(&call.body).into();
        let told = format!("the model server received {} unchanged", call.what);
        expect(sent == received.sha256, told, || format!("{} other bytes", received.bytes))?;
        let key = app::authorization();
        let has_key = received.authorization.as_deref() == Some(key.as_bytes());
        expect(has_key, "the key reached the model server", || "no key, or another".to_owned())?;
        passed.push(Passed { call, answered, received });
    }
    Ok(passed)
}
