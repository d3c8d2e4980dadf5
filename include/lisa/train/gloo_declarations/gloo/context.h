#pragma once

// libtorch's wheels hold Gloo but not its headers, which c10d's ProcessGroupGloo.hpp includes. That class holds Gloo's
// types by pointer only, so declarations are enough. Nothing may derive from these types or make one.

#include <chrono>

namespace gloo {

class Context {
 public:
  virtual ~Context();
  void setTimeout(std::chrono::milliseconds timeout);
};

}  // namespace gloo
