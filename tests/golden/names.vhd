-- module_n.vhd
library ieee;
use ieee.std_logic_1164.all;
use ieee.numeric_std.all;

entity module_n is
  port (
    signal_n   : in  std_logic_vector(3 downto 0);
    Signal_n_2 : in  std_logic_vector(3 downto 0);
    x_1        : in  std_logic_vector(2 downto 0);
    clk_2      : in  std_logic;
    begin_n    : out std_logic_vector(4 downto 0);
    end_n      : out std_logic_vector(2 downto 0);
    valid_in   : out std_logic;
    Begin_n_2  : out std_logic_vector(3 downto 0)
  );
end entity;

architecture rtl of module_n is

  signal signal_n_i   : signed(3 downto 0);
  signal Signal_n_2_i : signed(3 downto 0);
  signal x_1_i        : unsigned(2 downto 0);
  signal clk_2_i      : unsigned(0 downto 0);

  -- dense_1/MatMul:0
  signal s_sum     : signed(4 downto 0);
  signal process_n : unsigned(0 downto 0);
  signal t         : unsigned(0 downto 0);
begin
  signal_n_i   <= signed(signal_n);
  Signal_n_2_i <= signed(Signal_n_2);
  x_1_i        <= unsigned(x_1);
  clk_2_i(0)   <= clk_2;

  -- dense_1/MatMul:0
  s_sum     <= resize(signal_n_i, 5) + resize(Signal_n_2_i, 5);
  process_n <= unsigned(s_sum(0 downto 0));
  t         <= process_n xor clk_2_i;

  begin_n   <= std_logic_vector(s_sum);
  end_n     <= std_logic_vector(x_1_i);
  valid_in  <= t(0);
  Begin_n_2 <= std_logic_vector(signal_n_i);
end architecture;
