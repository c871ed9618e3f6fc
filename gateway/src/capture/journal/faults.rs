//! Each operation on the disk failed in turn, tails torn in every way, files damaged and moved.
