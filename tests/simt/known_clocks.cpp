#include "known_clocks.hpp"

#include <algorithm>
#include <utility>

namespace simt {

namespace {

void learn_clocks(BlockClocks& known, const BlockClocks& more) {
  for (std::size_t i = 0; i < known.size(); ++i) known[i] = std::max(known[i], more[i]);
}

}  // namespace

void learn(ClocksOfBlocks& known, const ClocksOfBlocks& more) {
  for (const auto& [block, clocks] : more) {
    std::shared_ptr<const BlockClocks>& held = known[block];
    if (held == clocks) continue;
    if (held == nullptr) {
      held = clocks;
      continue;
    }
    BlockClocks later = *held;
    learn_clocks(later, *clocks);
    held = std::make_shared<const BlockClocks>(std::move(later));
  }
}

std::uint32_t KnownClocks::of_another(std::uint32_t block, std::uint32_t actor) const {
  if (others_ == nullptr) return 0;
  const auto found = others_->find(block);
  return found == others_->end() ? 0 : (*found->second)[actor];
}

void KnownClocks::learn(const KnownClocks& more) {
  learn_clocks(own_, more.own_);
  if (more.others_ == nullptr || more.others_ == others_) return;
  if (others_ == nullptr) {
    others_ = more.others_;
    return;
  }
  ClocksOfBlocks later = *others_;
  simt::learn(later, *more.others_);
  others_ = std::make_shared<const ClocksOfBlocks>(std::move(later));
}

void KnownClocks::learn(const ClocksOfBlocks& more, std::uint32_t own) {
  ClocksOfBlocks others = others_ == nullptr ? ClocksOfBlocks{} : *others_;
  simt::learn(others, more);
  if (const auto mine = others.extract(own)) learn_clocks(own_, *mine.mapped());
  others_ = std::make_shared<const ClocksOfBlocks>(std::move(others));
}

ClocksOfBlocks KnownClocks::told(std::uint32_t own) const {
  ClocksOfBlocks all = others_ == nullptr ? ClocksOfBlocks{} : *others_;
  all[own] = std::make_shared<const BlockClocks>(own_);
  return all;
}

}  // namespace simt
