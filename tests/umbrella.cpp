// What a user's file sees, for a second compiler: the umbrella header and the members of every preset.
#if __has_include("lisa/lisa.hpp")
#include "lisa/lisa.hpp"
#endif
#include "lisa/model/lisa_model.hpp"

template class lisa::Lisa<lisa::Lisa7B>;
template class lisa::Lisa<lisa::Lisa13BLlama2>;
template class lisa::Lisa<lisa::Lisa7BLlava15>;
template class lisa::Lisa<lisa::Lisa7BSamL>;
template class lisa::Lisa<lisa::Lisa7BSamB>;
