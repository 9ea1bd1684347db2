//! Agreement and broadcast by point-to-point messages, over any link.
