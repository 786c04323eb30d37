//! Real binaries, real Docker Engine, real kubectl.
