-- inner.vhd
library ieee;
use ieee.std_logic_1164.all;
use ieee.numeric_std.all;

entity inner is
  port (
    a      : in  std_logic_vector(3 downto 0);
    b      : in  std_logic_vector(3 downto 0);
    result : out std_logic_vector(4 downto 0)
  );
end entity;

architecture rtl of inner is

  signal a_i : signed(3 downto 0);
  signal b_i : signed(3 downto 0);

  -- conv
  signal d : signed(4 downto 0);
begin
  a_i <= signed(a);
  b_i <= signed(b);

  -- conv
  d <= resize(a_i, 5) - resize(b_i, 5);

  result <= std_logic_vector(d);
end architecture;

-- kernel.vhd
library ieee;
use ieee.std_logic_1164.all;
use ieee.numeric_std.all;

entity kernel is
  port (
    clk    : in  std_logic;
    ce     : in  std_logic;
    v      : in  std_logic_vector(6 downto 0);
    k      : in  std_logic_vector(3 downto 0);
    result : out std_logic_vector(8 downto 0)
  );
end entity;

architecture rtl of kernel is
  attribute use_dsp : string;
  attribute syn_multstyle : string;

  signal v_i : unsigned(6 downto 0);
  signal k_i : signed(3 downto 0);

  -- conv
  signal a : signed(3 downto 0);
  signal b : unsigned(2 downto 0);
  signal w : signed(3 downto 0);
  signal d : signed(4 downto 0);
  signal m : signed(8 downto 0);
  signal r : signed(8 downto 0);
  signal d_i : std_logic_vector(4 downto 0);
  attribute use_dsp of m : signal is "no";
  attribute syn_multstyle of m : signal is "logic";
begin
  v_i <= unsigned(v);
  k_i <= signed(k);

  -- conv
  d_2 : entity work.inner port map (a => std_logic_vector(a), b => std_logic_vector(w), result => d_i);
  a <= signed(v_i(3 downto 0));
  b <= v_i(6 downto 4);
  w <= signed(resize(b, 4));
  d <= signed(d_i);
  m <= d * k_i;
  process (clk)
  begin
    if rising_edge(clk) then
      if ce = '1' then
        r <= m;
      end if;
    end if;
  end process;

  result <= std_logic_vector(r);
end architecture;

-- instances.vhd
library ieee;
use ieee.std_logic_1164.all;
use ieee.numeric_std.all;

entity instances is
  port (
    clk : in  std_logic;
    ce  : in  std_logic;
    x   : in  std_logic_vector(6 downto 0);
    z   : in  std_logic_vector(6 downto 0);
    y   : out std_logic_vector(17 downto 0)
  );
end entity;

architecture rtl of instances is

  signal x_i : unsigned(6 downto 0);
  signal z_i : unsigned(6 downto 0);

  -- conv
  signal a   : signed(8 downto 0);
  signal b   : signed(8 downto 0);
  signal y_2 : unsigned(17 downto 0);
  signal a_i : std_logic_vector(8 downto 0);
  signal b_i : std_logic_vector(8 downto 0);
begin
  x_i <= unsigned(x);
  z_i <= unsigned(z);

  -- conv
  a_2 : entity work.kernel port map (clk => clk, ce => ce, v => std_logic_vector(x_i), k => 4x"d",
      result => a_i);
  b_2 : entity work.kernel port map (clk => clk, ce => ce, v => std_logic_vector(z_i), k => 4x"d",
      result => b_i);
  a   <= signed(a_i);
  b   <= signed(b_i);
  y_2 <= unsigned(b) & unsigned(a);

  y <= std_logic_vector(y_2);
end architecture;
