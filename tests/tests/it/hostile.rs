//! Hostile scripts and requests: each ends in its documented problem, and neighbours are served.
