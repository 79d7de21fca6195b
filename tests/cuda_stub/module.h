/* Makes a library of emulated kernels into what the stub driver loads in place of a cubin. */
#include <utility>

template <class... Arguments, size_t... Is>
void call_kernel(void (*kernel)(Arguments...), void **arguments, std::index_sequence<Is...>)
{
    kernel(*static_cast<Arguments *>(arguments[Is])...);
}

template <class... Arguments>
void call_kernel(void (*kernel)(Arguments...), void **arguments)
{
    call_kernel(kernel, arguments, std::index_sequence_for<Arguments...>());
}

template <class... Arguments>
constexpr int count_arguments(void (*)(Arguments...))
{
    return sizeof...(Arguments);
}

struct Kernel {
    const char *name;
    void (*run)(void **arguments);
    int arguments;
};

#define KERNEL(symbol) {#symbol, [](void **arguments) { call_kernel(symbol, arguments); }, count_arguments(symbol)}

extern "C" const char *stub_launch(
    void (*run)(void **), const unsigned *grid, unsigned threads, size_t shared, void **arguments)
{
    const std::lock_guard<std::mutex> lock(emulation::machine_lock);
    emulation::machine.error[0] = 0;
    emulation::launch({grid[0], grid[1], grid[2]}, {threads}, shared, [&] { run(arguments); });
    return emulation::machine.error;
}
