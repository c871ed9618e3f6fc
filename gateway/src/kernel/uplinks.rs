//! Uplinks: the last hook before the network, for frames that went below IP.
//!
//! In: the programs. Out: one attachment per device that is there now, other than the machine's own
//! loop. A device that appears later has none, which is why what leaves in frames is never more than
//! observed. From Linux 6.6 on the kernel has links for it; before, a filter stands at the device's
//! queue, and the kernel has no answer to whether it still does. Such a filter outlives a loader that is
//! killed: [`sweep`] takes away what was left.

use std::fs;

use aya::Ebpf;
use aya::programs::tc::{NlOptions, TcAttachOptions, qdisc_add_clsact, qdisc_detach_program};
use aya::programs::{LinkOrder, ProgramError, SchedClassifier, TcAttachType};

use super::message::ProgramAt;
use super::programs::{ProgramsError, program_at};

pub(super) const UPLINK: &str = "sealtap_uplink";

/// Attaches the program to each device; the numbers of links are not known yet.
pub(super) fn attach(ebpf: &mut Ebpf) -> Result<Vec<ProgramAt>, ProgramsError> {
    let failed = |source| ProgramsError::Program { name: UPLINK, source: Box::new(source) };
    let program = ebpf.program_mut(UPLINK).ok_or(ProgramsError::Lacks(UPLINK))?;
    let program: &mut SchedClassifier = program.try_into().map_err(failed)?;
    program.load().map_err(failed)?;
    let mut attached = Vec::new();
    for name in devices() {
        // One that went away in between is no way out.
        let Ok(device) = index(&name) else { continue };
        match at(program, &name) {
            Ok(()) => {}
            Err(_) if !is_there(device) => continue,
            Err(error) => return Err(failed(error)),
        }
        let info = program.info().map_err(failed)?;
        let place = program_at(UPLINK, &info);
        attached.push(ProgramAt { device, held: place.id, ..place });
    }
    Ok(attached)
}

fn at(program: &mut SchedClassifier, name: &str) -> Result<(), ProgramError> {
    let last = TcAttachOptions::TcxOrder(LinkOrder::default());
    match program.attach_with_options(name, TcAttachType::Egress, last) {
        Ok(_) => Ok(()),
        Err(_) => {
            // Already there is as good as added; what else is wrong shows in the next step.
            let _ = qdisc_add_clsact(name);
            let options = TcAttachOptions::Netlink(NlOptions::default());
            program.attach_with_options(name, TcAttachType::Egress, options).map(drop)
        }
    }
}

/// Takes away the filters that loaders have left at the devices of this network namespace, and gives the
/// names of those devices. It cannot tell whose they are: nobody may be attached here.
pub(super) fn sweep() -> Vec<String> {
    let egress = TcAttachType::Egress;
    let swept = |name: &String| qdisc_detach_program(name, egress, UPLINK).is_ok();
    devices().into_iter().filter(swept).collect()
}

/// The devices of this network namespace, but for its loop.
fn devices() -> Vec<String> {
    let listed = fs::read_to_string("/proc/self/net/dev").unwrap_or_default();
    let names = listed.lines().filter_map(|line| Some(line.split_once(':')?.0.trim().to_owned()));
    names.filter(|name| name != "lo").collect()
}

fn index(name: &str) -> rustix::io::Result<u32> {
    let socket = rustix::net::socket(
        rustix::net::AddressFamily::UNIX,
        rustix::net::SocketType::DGRAM,
        None,
    )?;
    rustix::net::netdevice::name_to_index(socket, name)
}

/// Whether a device with that index is there.
pub(super) fn is_there(device: u32) -> bool {
    devices().iter().any(|name| index(name) == Ok(device))
}
