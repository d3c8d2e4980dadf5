#pragma once

#include <memory>

#include "lisa/train/process_group.hpp"
#include "lisa/train/process_place.hpp"

namespace lisa::program {

/// Which process torchrun, mpirun or srun started this one as. @throws InputError as `process_place`
[[nodiscard]] ProcessPlace launched_place();

/// The group that torchrun, mpirun or srun started this process in; a group of one where nothing did.
/// @throws as `join_process_group`
[[nodiscard]] std::unique_ptr<ProcessGroup> join_launched_group();

}  // namespace lisa::program
