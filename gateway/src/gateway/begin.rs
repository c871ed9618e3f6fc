//! The second half of a start: from here on things are sealed.
//!
//! In: what was looked at and found sound. Out: a gateway that only needs to be served. Its clients wait at the
//! listener until then.

use std::sync::{Arc, Mutex};

use arc_swap::ArcSwap;

use super::behind::{Behind, Found};
use super::found::opened_store;
use super::{Checked, Gateway, Reloader, Report, StartError, Told, secure_random};
use crate::accept::Minter;
use crate::capture::Tap;
use crate::capture::secrets::Secrets;
use crate::clock::Timeline;
use crate::config::{Config, Durability};
use crate::data::DataDir;
use crate::identify::{Launch, Runs};
use crate::journey::Journey;
use crate::seal::keys::Keys;
use crate::seal::log::Log;
use crate::seal::recovery::last_sealed;
use crate::seal::timestamp::Timestamps;
use crate::seal::vouching::{Voucher, Vouching};
use crate::seal::witness::{Announcer, Witnesses};
use crate::serve::observe::{Bounds, Observe, ObserveListener};

impl Gateway {
    /// Makes a gateway of what was looked at: from here on things are sealed. Everything that comes
    /// to it belongs to the run of `launch`, where there is one.
    ///
    /// # Errors
    ///
    /// [`StartError`]; whatever was wrong is as it was.
    pub async fn begin(
        checked: Checked,
        told: Told,
        launch: Option<Launch>,
    ) -> Result<Self, StartError> {
        let Checked { config, settings, listener, address, observe_listener, data, .. } = checked;
        let Checked { writer, keys, mut authority, names, log, opened, store, .. } = checked;
        names.settle()?;
        // Before anything is signed: on an old copy, the next leaf would be a fork.
        let (witnesses, announcer) = asked(&config, &data, &keys, &log).await?;
        let timeline = Timeline::start(last_sealed(&log)?);
        let store = match store {
            Some(store) => store,
            None => opened_store(&data, &keys, &log)?,
        };
        // Before anything is sealed.
        let authority = authority.wait()?;
        let observed = observe_listener.as_ref().map(ObserveListener::address).transpose()?;
        let found =
            Found { config: &config, data: &data, keys: &keys, timeline, launch: launch.as_ref() };
        let behind = found.seal(log, opened.adopted, store, announcer)?;
        let Behind { journal, sealer, progress, retention, size, interrupted, torn } = behind;
        let report = Report {
            address,
            observe: observed,
            origin: keys.origin().to_owned(),
            size,
            interrupted,
            torn,
        };

        let timestamp = config.timestamp.as_ref().map(|tsa| (tsa, Voucher::new(&tsa.url.host)));
        let vouching = Vouching {
            witnesses: witnesses.as_ref().map(|it| it.vouchers().to_vec()).unwrap_or_default(),
            authority: timestamp.as_ref().map(|(_, voucher)| Arc::clone(voucher)),
        };
        let observing = &config.observe;
        let observe = Observe::new(
            &settings.table.names(),
            journal.clone(),
            (progress, vouching),
            vec![("data", data.root().to_owned()), ("lock", data.lock_directory())],
            Bounds { log_late: observing.log_late, disk_left: observing.disk_left },
            observing.enabled && observe_listener.is_none(),
        );
        let random = secure_random();
        let strict = config.durability == Durability::Strict;
        let secrets = Secrets::new(keys.header(), &config.secrets.headers, &config.secrets.query);
        let journey = Arc::new(Journey {
            settings: ArcSwap::from_pointee(settings.bound_to(address)),
            tap: Tap::new(journal.clone(), timeline, secrets, random, strict)
                .for_launch(launch.clone()),
            runs: Runs::of(launch.as_ref()),
            launch: launch.map(|launch| launch.id),
            random,
            observe: Arc::new(observe),
            minter: Minter::new(Arc::clone(&authority)),
            report: told,
        });
        // One command calls few hosts, and is not to wait for the leaves of all.
        if journey.launch.is_none() {
            authority.prepare(journey.settings.load().opened_hosts());
        }
        let timestamps = timestamp.map(|(tsa, voucher)| Timestamps::start(tsa, &data, voucher));
        let timestamps = timestamps.transpose()?;
        let idle_runs = config.runs.idle;
        let reloader = Reloader {
            journey: Arc::clone(&journey),
            keys,
            authority: Arc::clone(&authority),
            retention,
            address,
            present: Mutex::new(config),
        };
        Ok(Self {
            journal,
            sealer,
            journey,
            coverage: None,
            authority,
            listener,
            observe_listener,
            report,
            idle_runs,
            reloader: Some(reloader),
            last: None,
            witnesses,
            timestamps,
            writer,
        })
    }
}

/// The witnesses of the configuration, none of which has seen another log, and what tells them of this one.
async fn asked(
    config: &Config,
    data: &DataDir,
    keys: &Arc<Keys>,
    log: &Log,
) -> Result<(Option<Witnesses>, Option<Announcer>), StartError> {
    let Some(witness) = &config.witness else { return Ok((None, None)) };
    let (witnesses, announcer) = Witnesses::start(witness, data, keys, log.checkpoint()).await?;
    if let Some(testimony) = witnesses.testimony().borrow().clone() {
        return Err(testimony.into());
    }
    Ok((Some(witnesses), Some(announcer)))
}
