#pragma once

#if __has_include(<malloc.h>)
#include <malloc.h>
#endif

#include <limits>

namespace lisa {

/// Has the C library keep freed memory for what is allocated next, instead of giving it back to the system. A model
/// allocates tensors of the same sizes again and again, and each page that the system hands out is cleared first: SAM's
/// mask decoder takes a third less time so. To be called at the beginning of a program's main function; the program
/// keeps the most memory that it ever held. Does nothing where the C library is not glibc.
inline void keep_freed_memory() {
#if defined(__GLIBC__)
  constexpr int never = std::numeric_limits<int>::max();
  static_cast<void>(mallopt(M_MMAP_THRESHOLD, never));  // no allocation gets pages of its own
  static_cast<void>(mallopt(M_TRIM_THRESHOLD, never));
#endif
}

}  // namespace lisa
