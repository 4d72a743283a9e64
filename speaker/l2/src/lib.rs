//! ARP and NDP: frames, the responder, and the gratuitous burst, without sockets.
