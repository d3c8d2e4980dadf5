#pragma once

namespace lisa {

/// Which states of a run stay on the disk.
struct Retention {
  int last = 2;      ///< the newest ones, at least 1
  bool best = true;  ///< and the one with the best score
};

}  // namespace lisa
