#include "tests/model/golden_spec.hpp"

template lisa::LoadedModel<lisa::test::GoldenSpec> lisa::load<lisa::test::GoldenSpec>(const std::string&,
                                                                                      const lisa::LoadOptions&);
template class lisa::Predictor<lisa::test::GoldenSpec>;
