//! `sealtap bundle`: one run in one file.

use std::path::PathBuf;

use clap::Args;

use crate::config::DEFAULT_DATA;

/// Write one run into one file that can be checked offline, with or without this software.
#[derive(Debug, Args)]
#[command(after_help = "\
What is disclosed, by --disclose; the rest is there as commitments only:
  none                     nothing of any exchange
  all                      every part of every exchange but makers, with its key
  EXCHANGE                 the same of one exchange: its position in the run, from 1, or *
  EXCHANGE/PART            one part: context, request-head, request-body, request-trailers,
                           interim, response-head, response-body, response-trailers,
                           websocket-messages, maker (who made its connection, where the kernel
                           led that here), or request, response for all of one side
  EXCHANGE/PART/SEGMENTS   single segments, counted from 0: 3, or 0-3
  EXCHANGE/maker           only so: a command line may hold keys
  */maker                  also who went around meanwhile, which nothing else discloses

  sealtap bundle nightly-7 -o nightly-7.tar
  sealtap bundle nightly-7 -o nightly-7.tar --disclose all
  sealtap bundle 3f9a -o one.tar --disclose 1/request-body/0 2/response
  sealtap verify nightly-7.tar --key keys.txt

Works at any moment, also of a run that is still open; such a bundle has no record of the run. The
cosigned checkpoint and the timestamp go with it, where the gateway has them, and every change of
its keys.")]
pub struct Arguments {
    /// The run: its id, a unique prefix, or its name
    #[arg(value_name = "RUN")]
    pub run: String,
    /// The file to write
    #[arg(long, short, value_name = "FILE")]
    pub output: PathBuf,
    /// What to disclose: all, none, or pointers
    #[arg(long, value_name = "POINTER", num_args = 1.., default_value = "none")]
    pub disclose: Vec<String>,
    /// Data directory
    #[arg(long, value_name = "DIR", default_value = DEFAULT_DATA)]
    pub data: PathBuf,
}
