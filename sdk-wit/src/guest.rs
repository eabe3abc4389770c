//! Bindings for the guest: it implements [`Guest`] and calls [`export!`].

wit_bindgen::generate!({
    world: "script",
    path: "wit",
    generate_all,
    pub_export_macro: true,
    default_bindings_module: "picloud_sdk_wit",
});
