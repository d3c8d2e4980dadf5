#pragma once

#include <string>
#include <vector>

#include "lisa/data/sample.hpp"

namespace lisa {

/// A data set, and what was noticed in its files that does not keep it from being used.
struct OpenedDataSet {
  DataSet data_set;
  std::vector<std::string> warnings;  ///< `file: what`, printable
};

}  // namespace lisa
