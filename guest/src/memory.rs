//! The allocator, and the capture of the memory as an image.

#![allow(unsafe_code, reason = "an allocator and the view of the whole memory cannot be written without it")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, Ordering};

/// The system's allocator, which while a script is loaded overwrites what is freed with zeros: pages of zeros are not
/// part of an image, so the garbage of the parser costs nothing.
struct Scrubbing;

static SCRUB: AtomicBool = AtomicBool::new(false);

// SAFETY: every call goes to `System` with the arguments unchanged, but `realloc` while scrubbing, which is an
// allocation, a copy of the smaller of both sizes and a deallocation, as the trait's default does it.
unsafe impl GlobalAlloc for Scrubbing {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promises are those of `System`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        if SCRUB.load(Ordering::Relaxed) {
            // SAFETY: the caller gives up the block of `layout.size()` bytes at `ptr`.
            unsafe { ptr.write_bytes(0, layout.size()) };
            // Without a reader the compiler drops writes to memory that is about to be freed.
            core::hint::black_box(ptr);
        }
        // SAFETY: the caller's promises are those of `System`.
        unsafe { System.dealloc(ptr, layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        if !SCRUB.load(Ordering::Relaxed) {
            // SAFETY: the caller's promises are those of `System`.
            return unsafe { System.realloc(ptr, layout, new_size) };
        }
        // SAFETY: the caller promises that `new_size` is valid for the alignment.
        let new_layout = unsafe { Layout::from_size_align_unchecked(new_size, layout.align()) };
        // SAFETY: the new block and the old are both valid for the smaller of both sizes, and do not overlap.
        unsafe {
            let new = self.alloc(new_layout);
            if !new.is_null() {
                ptr.copy_to_nonoverlapping(new, layout.size().min(new_size));
                self.dealloc(ptr, layout);
            }
            new
        }
    }
}

#[global_allocator]
static ALLOCATOR: Scrubbing = Scrubbing;

/// Run `load`, overwriting whatever it frees.
pub(crate) fn leaving_no_garbage<T>(load: impl FnOnce() -> T) -> T {
    SCRUB.store(true, Ordering::Relaxed);
    let result = load();
    SCRUB.store(false, Ordering::Relaxed);
    result
}

/// What a call finds free beside what the image holds, in bytes: enough for most of them.
const ROOM: usize = 256 << 10;

/// Let the memory have room before it becomes an image. A call that grows its memory costs two changes of the protection of
/// pages, each of which interrupts every processor, and takes back from the next call what it had mapped. Room that
/// nobody has written to costs nothing: pages of zeros are not part of an image.
pub(crate) fn make_room() {
    drop(core::hint::black_box(Vec::<u8>::with_capacity(ROOM)));
}

/// Hand the memory above the stack to the host. What is below is the stack, and dead once `load` has returned.
#[cfg(target_arch = "wasm32")]
pub(crate) fn capture() {
    unsafe extern "C" {
        /// Where the linker puts the first static: the end of the stack.
        static __global_base: u8;
    }
    let start = (&raw const __global_base).addr();
    let end = core::arch::wasm32::memory_size(0) * 65536;
    // SAFETY: linear memory is valid from its start to its size, and the host copies it before anything else runs.
    let memory = unsafe { core::slice::from_raw_parts(&raw const __global_base, end - start) };
    picloud_sdk_wit::picloud::sdk::image::capture(start as u32, memory);
}

/// There is no image outside WebAssembly; unit tests do not get here.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) fn capture() {}
