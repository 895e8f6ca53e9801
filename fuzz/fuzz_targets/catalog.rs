//! Whatever an operator or a vendor's table holds, it is a catalog or is refused with a reason.

#![no_main]

use libfuzzer_sys::fuzz_target;
use vision_providers::catalog::Catalog;

fuzz_target!(|input: (&str, &str)| {
    let (presets, models) = input;
    if let Err(error) = Catalog::read(presets, models) {
        assert!(error.to_string().contains("catalog"));
    }
});
