//! Kernel programs of sealtap. Empty until the kernel observer exists.
