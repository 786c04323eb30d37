//! Tables of pods, and what is to be done or said.
