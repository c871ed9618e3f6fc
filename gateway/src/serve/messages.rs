//! Messages for the operator: those that `SEALTAP_LOG`, else `RUST_LOG`, else the configuration asks for.

use tracing::Level;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, fmt};

use crate::config::{MessageForm, MessageLevel};

/// Sends messages to `writer` from now on, with colours where it is a `terminal`.
pub(crate) fn to<W>((form, level): (MessageForm, MessageLevel), terminal: bool, writer: W)
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let layer = fmt::layer().with_writer(writer);
    let layer = match form {
        MessageForm::Text => layer.with_ansi(terminal).boxed(),
        MessageForm::Json => layer.json().flatten_event(true).boxed(),
    };
    // What libraries say in detail may quote what passes through them, secrets too: whatever was
    // asked for, only our own details are told.
    let ours =
        filter_fn(|told| *told.level() <= Level::INFO || told.target().starts_with("sealtap"));
    let layer = layer.with_filter(ours).with_filter(asked(level));
    // A second call, from a test in this process, keeps the first one's.
    let _ = tracing_subscriber::registry().with(layer).try_init();
}

fn asked(level: MessageLevel) -> EnvFilter {
    let filter = ["SEALTAP_LOG", "RUST_LOG"].into_iter().find_map(|name| {
        // A filter that cannot be read hides nothing.
        std::env::var(name)
            .ok()
            .filter(|text| !text.is_empty())
            .map(|text| EnvFilter::try_new(&text).unwrap_or_else(|_| EnvFilter::new("info")))
    });
    filter.unwrap_or_else(|| EnvFilter::new(level.as_str()))
}
